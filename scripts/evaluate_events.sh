#!/usr/bin/env bash
# What docs/results/events.md states: sliding windows of the tagger on soundscapes of ESC-10's clips
# over street noise. DATA is the folder with esc10/ and sounds/; WORK takes what is made.
set -euo pipefail
DATA=${DATA:?folder with esc10/ and sounds/}
WORK=${WORK:-$(mktemp -d)}

auricle prepare esc10 "$DATA/esc10" --out "$WORK/esc10.csv"
for snr in 0 10 20; do
  auricle soundscapes "$WORK/esc10.csv" "$DATA/sounds/berlin_noise" --out "$WORK/snr-$snr" \
    --count 30 --snr $snr $snr --validation-share 0 --test-share 0.5
done

evaluate() {  # SNR WINDOW, further options
  echo "== signal-to-noise $1 dB, windows of $2 s ${*:3}"
  auricle evaluate tagger --events --data "$WORK/snr-$1/events.csv" --split test --classes esc10 \
    --window "$2" "${@:3}" --out "$WORK/report"
}
evaluate 10 1
evaluate 10 1 --boxes
evaluate 0 1
evaluate 20 1
evaluate 10 0.5
evaluate 10 2
