#!/bin/sh
# Run a command with every secret that is mounted as a variable of its file's name. Only this
# process tree sees them: `docker inspect` shows the container's configuration, not this.
set -eu
for file in /run/secrets/*; do
  [ -f "$file" ] || continue
  name=${file##*/}
  case $name in
    *[!A-Z0-9_]*) ;;  # not a variable's name: a file for whoever asks for it
    *) export "$name=$(cat "$file")" ;;
  esac
done
exec "$@"
