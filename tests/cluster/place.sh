#!/usr/bin/env bash
# The first process of a place: hides this machine's /tmp, /run, /dev/shm and home behind the place's own, then runs a command.
# What the place must still see below them (the repository, Python, a shared folder) is bound back at the same path.
#
# place.sh NAME FOLDER HOME_PATH KEPT... -- COMMAND...
#   FOLDER holds `home`, which becomes HOME_PATH, and `hosts`, which becomes /etc/hosts. Says "ready" when all is mounted,
#   then waits for a line on stdin: by then the network is there.
set -euo pipefail
name=$1 folder=$2 home_path=$3
shift 3
kept=()
while [ "$1" != -- ]; do
    kept+=("$1")
    shift
done
shift

# Puts STAGE, a mounted folder, in the place of TARGET.
hide() {
    local target=$1 stage=$2 path
    for path in "${kept[@]}"; do
        if [[ $path == "$target"/* ]]; then
            mkdir -p "$stage${path#"$target"}"
            mount --rbind "$path" "$stage${path#"$target"}"
        fi
    done
    mount --move "$stage" "$target"
}

echo "$name" > /proc/sys/kernel/hostname
mount --bind "$folder/hosts" /etc/hosts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
mount --bind "$folder/home" "$folder/home"
mkdir -p "$folder/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$folder/tmp"
hide "$home_path" "$folder/home"
hide /tmp "$folder/tmp"
cd /
echo ready
read -r _
exec < /dev/null >&2
"$@" &
wait $! # and buries orphans meanwhile
