#!/bin/sh
# Make ./configure and what it needs. Wants autoconf and automake.
set -e
cd "$(dirname "$0")"
for tool in autoreconf automake; do
	command -v "$tool" >/dev/null || {
		echo "autogen.sh: $tool is missing; install autoconf and automake" >&2
		exit 1
	}
done
exec autoreconf -fi
