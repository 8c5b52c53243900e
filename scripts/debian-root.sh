# Makes Debian root file systems with mmdebstrap, from the package sources of this machine. Sourced, not run;
# needs guest-tools.sh sourced before it.
#
#   debian_suite                                     prints the suite that this machine takes its packages from
#   debian_root SUITE OUTPUT [MMDEBSTRAP OPTION…]    makes a root file system
#   debian_root_end                                  ends one that is at work
#   debian_kernel FLAVOUR                            prints the name of the package with the newest such kernel
#
# Examples:
#   debian_root "" root.tar --variant=minbase --include=nodejs,qemu-system-x86
#   debian_root trixie root.tar --variant=extract --include=busybox-static
#
# The packages come from where apt on this machine takes Debian's: same mirrors, same keys, same proxy, same
# credentials. On a machine that is not Debian mmdebstrap's own defaults hold.

# debian_source_entries: one line for each entry of apt's configuration that offers Debian: FILE:NUMBER SUITE.
debian_source_entries() {
  command -v apt-get >/dev/null || return 0
  local format='$(ORIGIN)|$(CREATED_BY)|$(SOURCESENTRY)|$(RELEASE)'
  list() { apt-get indextargets --format "$format" 2>/dev/null | sed -n 's/^Debian|Packages|\(.*\)|\(.*\)$/\1 \2/p' | sort -u; }
  local entries
  entries=$(list)
  # Without package lists apt does not know whose sources these are.
  if [[ -z $entries && $(id -u) == 0 ]]; then
    apt-get update -q >&2
    entries=$(list)
  fi
  echo "$entries"
}

debian_suite() {
  local suites
  suites=$(debian_source_entries | sed 's/.* //')
  # The system's own suite when its sources have it; else the first one that others (-updates, -security) build on.
  local own
  own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
  if [[ -n $own ]] && grep -qx "$own" <<<"$suites"; then
    echo "$own"
  else
    { grep -v -e - -e '^$' <<<"$suites" || echo stable; } | head -n 1
  fi
}

# debian_sources SUITE DIRECTORY: writes this machine's Debian sources, moved to that suite, into DIRECTORY/one-line
# and DIRECTORY/deb822, as far as there are any.
debian_sources() {
  local suite=$1 into=$2 own entry file number
  own=$(debian_suite)
  debian_source_entries | cut -d ' ' -f 1 | sort -u | while read -r entry; do
    file=${entry%:*} number=${entry##*:}
    if [[ $file == *.sources ]]; then
      # The number counts paragraphs.
      awk -v RS= -v n="$number" 'NR == n { print $0 "\n" }' "$file" |
        sed -E '/^#/d; s/^(Types:).*/\1 deb/' >>"$into/deb822"
    else
      # The number counts lines.
      sed -n "${number}p" "$file" | grep '^deb ' >>"$into/one-line"
    fi
  done
  [[ $suite != "$own" ]] || return 0
  local list
  for list in "$into"/*; do
    [[ -f $list ]] || continue
    sed -i -E "s/(^|[ /])$own\b/\1$suite/g" "$list"
    [[ $suite == sid || $suite == unstable ]] || continue
    # There are neither updates nor security updates of unstable.
    sed -i -E "/^Suites:/s/ $suite-[a-z-]+//g; /^deb .*$suite-/d" "$list"
    awk -v RS= -v ORS='\n\n' '!/\nSuites: *\n/' "$list" >"$list.left"
    mv "$list.left" "$list"
  done
}

# debian_acquire_settings: how apt on this machine downloads (proxies, time-outs, credentials), as a configuration file.
debian_acquire_settings() {
  command -v apt-config >/dev/null || return 0
  apt-config dump Acquire | grep -v -E '^Acquire::(IndexTargets|Changelogs|CompressionTypes|Languages|cdrom)\b'
  echo 'Acquire::Languages "none";'
  local file=/etc/apt/auth.conf parts=/etc/apt/auth.conf.d
  [[ ! -r $file ]] || echo "Dir::Etc::netrc \"$file\";"
  [[ ! -r $parts ]] || echo "Dir::Etc::netrcparts \"$parts\";"
}

# debian_root SUITE OUTPUT [MMDEBSTRAP OPTION…]
# SUITE may be empty: this machine's. OUTPUT's name says what it becomes: a directory, or a .tar, .squashfs or .ext2 file.
# Someone who is not root wants a .tar: a directory would belong to subordinate user ids.
# Of this machine, the result keeps the package sources (without passwords in their addresses), but no other setting, no
# host name and no name servers. The caller's hooks come after that is cleared.
# With SOURCE_DATE_EPOCH set, the same packages give the same bytes.
debian_root() {
  # As a job, so that a signal to the caller alone reaches the caller at once.
  debian_root_work "$@" &
  debian_root_job=$!
  wait "$debian_root_job" || return
  debian_root_job=
}

# debian_root_end: for the caller's EXIT trap: ends debian_root when it is at work, and waits until nothing is left of it.
# Without that it ends within two seconds of its caller.
debian_root_end() {
  [[ -z ${debian_root_job-} ]] || { kill "$debian_root_job" && wait "$debian_root_job"; } 2>/dev/null || true
}

# What debian_root starts; its EXIT trap and its variables are the job's own.
debian_root_work() {
  set -euo pipefail
  own=$BASHPID
  parent=$(grep '^PPid:' "/proc/$own/status")
  suite=${1:-$(debian_suite)} output=$2
  shift 2
  need_packages mmdebstrap:mmdebstrap
  namespaces=() ends_it="TERM KILL"
  if [[ $(id -u) == 0 ]]; then
    mode=root
    # What it mounts, and what it starts, ends with it in any case.
    namespaces=(unshare --mount --pid --fork --mount-proc --kill-child)
    if "${namespaces[@]}" true 2>/dev/null; then ends_it=KILL; else namespaces=(); fi
  elif unshare --user true 2>/dev/null && grep -q "^$(id -un):" /etc/subuid 2>/dev/null; then
    # User namespaces run the packages' scripts as they expect.
    need_packages newuidmap:uidmap
    mode=unshare
  else
    need_packages fakechroot:fakechroot fakeroot:fakeroot
    mode=fakechroot
  fi

  work='' guard=''
  scratch=$(mktemp -d)
  partial=$(dirname "$output")/.$$.$(basename "$output")
  # Ends what is still at work, and removes what it has made. When mmdebstrap has ended by itself, there is little to do.
  clean_up() {
    local signal tenths
    trap '' HUP INT TERM
    disown "$work" 2>/dev/null || true # no report of its death
    for signal in ${work:+$ends_it}; do
      # The group is there from setsid on.
      kill -s "$signal" -- "$work" "-$work" 2>/dev/null || break
      for ((tenths = 0; tenths < 50; tenths++)); do
        kill -0 -- "$work" "-$work" 2>/dev/null || break 2
        sleep 0.1
      done
    done
    # An interrupted one leaves a tree, in which subordinate user ids may own the files.
    [[ $mode != unshare ]] || mmdebstrap --unshare-helper find "$scratch/tmp" -mindepth 2 -delete >/dev/null 2>&1 || true
    rm -rf --one-file-system "$scratch" "$partial"
    [[ -z $guard ]] || kill -KILL -- "$guard" "-$guard" 2>/dev/null || true
  }
  # For the case that we do not live to do it, or that the script which has called us is gone: then the parent is another.
  stand_guard() {
    while grep -qsx "$parent" "/proc/$own/status"; do sleep 1; done
    # If it lives (a dead one may wait for its parent, as Z), it does the rest itself, and ends us as well.
    kill -TERM "$own"
    for ((seconds = 0; seconds < 20; seconds++)); do
      grep -qs '^State:.[^ZX]' "/proc/$own/status" || break
      sleep 1
    done
    work=$(cat "$scratch/work") || true
    clean_up
  }
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # It and the work have sessions of their own: the guard to outlive us, the work so that all of it can be ended.
  setsid "$BASH" -c "$(declare -p own parent ends_it mode scratch partial guard; declare -f clean_up stand_guard); stand_guard" \
    >/dev/null 2>&1 &
  guard=$!
  disown "$guard"

  mkdir "$scratch/sources"
  debian_sources "$suite" "$scratch/sources"
  mapfile -t sources < <(find "$scratch/sources" -type f)
  debian_acquire_settings >"$scratch/apt.conf"
  settings=()
  [[ ! -s $scratch/apt.conf ]] || settings=(--aptopt="$scratch/apt.conf")
  mkdir "$scratch/tmp"
  # Other user ids read it: the user namespace's root, and apt's own.
  chmod 0711 "$scratch" "$scratch/tmp"
  chmod 0644 "$scratch/apt.conf"

  echo "making a Debian $suite root file system" >&2
  hook=customize-hook
  [[ " $* " != *" --variant=extract "* ]] || hook=extract-hook
  TMPDIR=$scratch/tmp setsid "${namespaces[@]}" mmdebstrap --logfile="$scratch/log" --mode="$mode" "${settings[@]}" \
    --$hook='cd "$1/etc" && rm -f apt/apt.conf.d/99mmdebstrap hostname resolv.conf' \
    --$hook='find "$1/etc/apt" -name "*.list" -o -name "*.sources" | xargs -r sed -i -E "s#://[^/@ ]+@#://#g"' \
    "$@" "$suite" "$partial" "${sources[@]}" 2>>"$scratch/log" &
  work=$!
  echo "$work" >"$scratch/work"
  wait "$work" || {
    echo "mmdebstrap failed (status $?), with these last words:" >&2
    grep -v '^I: ' "$scratch/log" | tail -n 40 >&2
    exit 1
  }
  work=''
  mv -T "$partial" "$output"
}

# debian_kernel FLAVOUR: cloud-amd64, amd64, … The package that linux-image-FLAVOUR stands for on this machine.
debian_kernel() {
  local package
  package=$(apt-cache depends --important "linux-image-$1" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1) || true
  [[ -n $package ]] || {
    echo "no package linux-image-$1 among this machine's Debian sources; is \`apt-get update\` due, or the name wrong?" >&2
    return 1
  }
  echo "$package"
}
