const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const wanted = filter.value.toLowerCase();
  for (const entry of document.querySelectorAll("nav li")) {
    entry.hidden = !entry.textContent.toLowerCase().includes(wanted);
  }
});
