#!/bin/sh
# Ready: the append-only file is loaded and a user with a password is answered.
REDISCLI_AUTH=$(cat /run/secrets/password)
export REDISCLI_AUTH
[ "$(redis-cli --user probe --no-auth-warning ping)" = PONG ]
