#!/usr/bin/env bash
# Distil the tagger of 527 AudioSet classes, from the sounds to its scores.
#
#   scripts/train_tagger.sh [STAGE ...]     all in order: teacher sounds tagger long score
#
# Each training goes on where it was stopped.
#
# DATA      folder with esc10/, which is never trained on   (../shared/data)
# TEACHER   weights of EfficientAT, any width               (../shared/teacher/mn04_as.safetensors)
# LISTENER  folder with teacher.py, for the coverage table  (../shared/teacher)
# WORK      where sounds and runs go, about 30 GB           (runs/tagger)
# DEVICES   how many, or processes on a CPU                 (1)
set -euo pipefail
cd "$(dirname "$0")/.."
DATA=${DATA:-../shared/data} WORK=${WORK:-runs/tagger} DEVICES=${DEVICES:-1}
LISTENER=${LISTENER:-../shared/teacher}
weights=${TEACHER:-$LISTENER/mn04_as.safetensors}
python=.venv/bin/python auricle=.venv/bin/auricle
mkdir -p "$WORK"
export SOUNDS="$WORK/sounds/heard.csv" TEACHER="$WORK/teacher"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

teacher() {
  if [ ! -e "$TEACHER/config.json" ]; then $auricle convert "$weights" "$TEACHER"; fi
}

sounds() {
  $python scripts/collect_sounds.py "$WORK/sounds" --not-like "$DATA/esc10/audio"
  $python scripts/synthesise_sounds.py "$WORK/sounds"
  $python scripts/sound_coverage.py "$WORK/sounds" --teacher "$LISTENER"
}

distil() {  # FOLDER KEY=VALUE ...
  local folder=$1
  if [ -e "$folder/result.json" ]; then return; fi
  $auricle distill tagger "${@:2}" --out "$folder" --resume --devices "$DEVICES"
}

tagger() { distil "$WORK/run_short"; }

long() {  # the positions of 10 s, from those of 5 s
  distil "$WORK/run_long" initial_weights="$WORK/run_short/last" model.max_frames=1008 \
    data.crop_seconds=10 front_end.statistics=initial training.epochs=5 \
    training.optimizer.learning_rate=3e-4
}

score() {  # on sound that was never trained on
  $auricle prepare esc10 "$DATA/esc10" --out "$WORK/esc10.csv"
  for run in run_short run_long; do
    local model="$WORK/$run/last"
    $auricle evaluate "$model" --data "$WORK/esc10.csv" --classes esc10 --out "$WORK/scores/$run/zero_shot"
    $auricle probe "$model" --data "$WORK/esc10.csv" --out "$WORK/scores/$run/probe"
    $auricle agree "$model" "$TEACHER" --data "$SOUNDS" --split test --out "$WORK/scores/$run/agreement"
  done
}

if [ $# = 0 ]; then set -- teacher sounds tagger long score; fi
for stage in "$@"; do $stage; done
