#!/usr/bin/env bash
# Installs Debian's Chromium and a font, for the browser tests. Says nothing when it is there; needs root and apt.
set -euo pipefail
command -v chromium >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
