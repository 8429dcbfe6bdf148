#!/bin/sh
# Fetch Fluent Emoji Flat (Microsoft, MIT) and draw its subjects: build/stickers/{icons.json,LICENSE.json,artwork.npz}.
set -eu
folder=${1:-build/stickers}
python=${PYTHON:-.venv/bin/python}
[ ! -f "$folder/artwork.npz" ] || exit 0
mkdir -p "$folder"
if [ ! -f "$folder/icons.json" ]; then
    (cd "$folder" && npm pack --silent @iconify-json/fluent-emoji-flat@1.2.6)
    tar -xzf "$folder"/iconify-json-fluent-emoji-flat-1.2.6.tgz -C "$folder" --strip-components=1 \
        package/icons.json package/info.json
fi
"$python" -m pip install --quiet --disable-pip-version-check -r scripts/train_stickers/requirements.txt
"$python" -m scripts.train_stickers.artwork "$folder"
