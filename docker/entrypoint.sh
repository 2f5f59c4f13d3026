#!/bin/sh
# Start the broker as somebody who is not root, with ./data and ./logs writable; arguments go to main.py.
#
# Started as root, the image's way: the broker runs as `app` (1000:1000). Docker creates a missing ./data as root, so
# what is root's in data and logs is given to app first. If data already belongs to another user, the broker runs as
# that user and leaves it theirs, so that they can go on editing their settings.
# Started as another user (`user:` in compose): nothing is changed, only checked.
set -eu
cd -- "$(dirname -- "$0")/.."

uid=1000 gid=1000 # useradd in the Dockerfile
settings=data/.mcp-endpoint-server.cfg

# The language by the same rule as that of main.py: MCP_ENDPOINT_LANG, the locale, [broker] language, which is zh if unset.
lang=${MCP_ENDPOINT_LANG:-${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}}
case $lang in
'' | C | C.* | POSIX)
    lang=$(sed -n 's/^[[:space:]]*language[[:space:]]*[=:][[:space:]"]*//p' "$settings" 2>/dev/null | head -n 1)
    lang=${MCP_ENDPOINT_BROKER__LANGUAGE:-${lang:-zh}}
    ;;
esac

# say CHINESE ENGLISH
say() {
    case $lang in
    [Zz][Hh]*) printf '%s\n' "entrypoint: $1" >&2 ;;
    *) printf '%s\n' "entrypoint: $2" >&2 ;;
    esac
}

# Give what is root's under $1 to the user; symbolic links are neither followed nor their targets touched.
give() {
    [ -n "$(find -P "$1" -user 0 -print -quit)" ] || return 0
    if chown -RhP --from=0 "$uid:$gid" -- "$1"; then
        say "$1 原属 root，已改为 $uid:$gid" "$1 belonged to root and now belongs to $uid:$gid"
    else
        say "无法将 $1 的所有者改为 $uid:$gid（只读或网络挂载？）" \
            "could not change the owner of $1 to $uid:$gid (read-only or network mount?)"
    fi
}

# Words to put before a command so that it runs without root's rights; none if there are none to drop.
as_user=
if [ "$(id -u)" = 0 ]; then
    mkdir -p data logs home
    owner=$(stat -c %u data)
    if [ "$owner" != 0 ]; then
        uid=$owner
        gid=$(stat -c %g data)
        [ "$gid" != 0 ] || gid=$uid
        # The image's own folders are app's and may be handed on; mounted ones stay their owner's.
        for dir in logs home; do
            if [ "$uid" != 1000 ] && ! mountpoint -q "$dir"; then
                chown -RhP --from=1000 "$uid:$gid" -- "$dir" || :
            fi
        done
    fi
    give data
    give logs
    give home
    as_user="setpriv --reuid=$uid --regid=$gid --clear-groups"
    if ! $as_user true; then
        say "无法放弃 root 权限（设置了 \`cap_drop\`？）：请在 docker-compose.yml 中设置 \`user: \"$uid:$gid\"\`，然后重新启动。" \
            "root's rights cannot be given up (\`cap_drop\`?); set \`user: \"$uid:$gid\"\` in docker-compose.yml and start again."
        exit 1
    fi
else
    uid=$(id -u)
    gid=$(id -g)
    mkdir -p data logs home 2>/dev/null || :
fi

# $as_user is split into words on purpose.
# shellcheck disable=SC2086
may() {
    $as_user test "$1" "$2"
}

# Tool programs (npx, uvx) keep what they download there; root's is closed to the user.
export HOME="$PWD/home"
if ! { may -d home && may -w home && may -x home; }; then
    say "用户 $uid:$gid 无法写入 $HOME，程序下载的内容将放在 /tmp" \
        "user $uid:$gid cannot write to $HOME, so programs keep what they download in /tmp"
    export HOME=/tmp
fi

for dir in data logs; do
    if ! { may -d "$dir" && may -w "$dir" && may -x "$dir"; }; then
        say "用户 $uid:$gid 无法写入 $PWD/$dir：请在宿主机执行 \`sudo chown -R $uid:$gid ./$dir\`，或将 docker-compose.yml 中的 \`user:\` 设为该目录的所有者，然后重新启动。" \
            "user $uid:$gid cannot write to $PWD/$dir; on the host run \`sudo chown -R $uid:$gid ./$dir\` or set \`user:\` in docker-compose.yml to its owner, then start again."
        exit 1
    fi
done
if [ -e "$settings" ] && ! may -r "$settings"; then
    say "用户 $uid:$gid 无法读取 $PWD/$settings：请在宿主机执行 \`sudo chown $uid:$gid ./$settings\`，然后重新启动。" \
        "user $uid:$gid cannot read $PWD/$settings; on the host run \`sudo chown $uid:$gid ./$settings\`, then start again."
    exit 1
fi

# exec twice over: no shell stays between Docker's SIGTERM and Python.
# shellcheck disable=SC2086
exec $as_user python main.py "$@"
