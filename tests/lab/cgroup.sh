# shellcheck shell=bash
# Control groups of a lab, on hosts of version 1, hybrid and version 2.
#
# Each lab has a group of its own below `berth-lab` in every hierarchy, and each node one below that. A node sees its
# own group as the root (a cgroup namespace), so equal container names on two nodes do not meet. Groups outlive their
# processes, so they are swept: by `down`, and by the next `up` after a kill.

# Prints a line a mounted hierarchy: its mount point, a tab, its type, a tab, the options that mount it again.
cgroup_hierarchies() {
  local point type super
  while read -r point type super; do
    case $type in
    cgroup2) printf '%s\tcgroup2\t\n' "$point" ;;
    cgroup)
      # rw and ro say nothing of which hierarchy it is; a named one without controllers says so.
      super=$(sed -E 's/(^|,)(rw|ro|xattr|clone_children|release_agent=[^,]*)(,|$)/\3/g; s/^,//' <<<"$super")
      case $super in name=*) super="none,$super" ;; esac
      printf '%s\tcgroup\t%s\n' "$point" "$super"
      ;;
    esac
  done < <(sed -nE 's/^[0-9]+ [0-9]+ [^ ]+ [^ ]+ ([^ ]+) .* - (cgroup2?) [^ ]+ (.*)$/\1 \2 \3/p' /proc/self/mountinfo |
    grep '^/sys/fs/cgroup' || true)
}

# Makes a group (a path below each hierarchy's root) and moves the calling shell into it.
cgroup_enter() {
  local group=$1 point type options
  while IFS=$'\t' read -r point type options; do
    cgroup_make "$point" "$type" "$group"
    echo 0 >"$point/$group/cgroup.procs"
  done < <(cgroup_hierarchies)
}

# Makes a group in one hierarchy. A cpuset takes no process before it has processors and memory nodes.
cgroup_make() {
  local point=$1 type=$2 group=$3 dir=$1 part parts
  IFS=/ read -ra parts <<<"$group"
  for part in "${parts[@]}"; do
    if [[ $type == cgroup2 && -s $dir/cgroup.controllers ]]; then
      sed 's/[^ ]*/+&/g' "$dir/cgroup.controllers" >"$dir/cgroup.subtree_control" 2>/dev/null || true
    fi
    [[ -d $dir/$part ]] || mkdir -p "$dir/$part"
    if [[ -e $dir/$part/cpuset.mems && $type == cgroup ]]; then
      cat "$dir/cpuset.cpus" >"$dir/$part/cpuset.cpus"
      cat "$dir/cpuset.mems" >"$dir/$part/cpuset.mems"
      echo 1 >"$dir/$part/cgroup.clone_children"
    fi
    dir+=/$part
  done
}

# Mounts the hierarchies, as the caller's cgroup namespace sees them, at a folder laid out like /sys/fs/cgroup.
cgroup_view() {
  local view=$1 point type options
  local all
  all=$(cgroup_hierarchies)
  mkdir -p "$view"
  mount -t tmpfs -o mode=755,size=64k berth-lab "$view"
  while IFS=$'\t' read -r point type options; do
    if [[ $point == /sys/fs/cgroup ]]; then
      mount -t cgroup2 cgroup2 "$view"
    else
      mkdir -p "$view/${point##*/}"
      mount -t "$type" ${options:+-o "$options"} "$type" "$view/${point##*/}"
    fi
  done <<<"$all"
}

# Gives each controller that this kernel knows but the host has not mounted a name in a view. systemd-nspawn 252 asks
# for all of them and fails on one that is not there; as a link to another it mounts nothing new.
cgroup_pad() {
  local view=$1 name
  while read -r name _; do
    [[ $name == \#* || -e $view/$name ]] || ln -s memory "$view/$name"
  done </proc/cgroups
}

# Removes a group and all below it in every hierarchy, waiting a moment for its last processes to be gone.
cgroup_remove() {
  local group=$1 point type options try
  while IFS=$'\t' read -r point type options; do
    for ((try = 0; try < 50; try++)); do
      [[ -d $point/$group ]] || break
      find "$point/$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
    rmdir "$point/${group%%/*}" 2>/dev/null || true
  done < <(cgroup_hierarchies)
}
