#!/bin/sh
# Redis with one user who may do what the snapshot store does, on its own keys, and one for probes.
set -eu
password=$(cat /run/secrets/password)
[ "${#password}" -ge 20 ] || { echo "the Redis secret is shorter than 20 characters" >&2; exit 1; }
hash=$(printf %s "$password" | sha256sum | cut -d' ' -f1)
umask 077
cat > /tmp/users.acl <<ACL
user default off resetchannels -@all
user scalrec on #$hash ~scalrec:* resetchannels -@all +get +set +del +eval +evalsha +script|load +@connection -@admin -@dangerous
user probe on #$hash resetkeys resetchannels -@all +ping +hello
ACL
exec redis-server /etc/scalrec/redis.conf
