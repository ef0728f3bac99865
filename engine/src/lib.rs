//! Desired state against observed state: plans, and their execution through ports.
