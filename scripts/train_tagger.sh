#!/usr/bin/env bash
# Distil the tagger of 527 AudioSet classes, from the sounds to the shipped model.
#
#   scripts/train_tagger.sh [STAGE ...]     all in order: teacher sounds short longer long tagger
#
# Each training goes on where it was stopped. The stages tiny and tagger_tiny train and ship the smaller
# model; further and level are trials (docs/results/tagger.md) and ship nothing.
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
name=${weights##*/}
export SOUNDS="$WORK/sounds/heard.csv" TEACHER="$WORK/teachers/${name%.*}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

teacher() {
  if [ ! -e "$TEACHER/config.json" ]; then $auricle convert "$weights" "$TEACHER"; fi
}

sounds() {
  $python scripts/collect_sounds.py "$WORK/sounds" --not-like "$DATA/esc10/audio"
  $python scripts/synthesise_sounds.py "$WORK/sounds"
  $python scripts/sound_coverage.py "$WORK/sounds" --teacher "$LISTENER"
}

distil() {  # FOLDER RECIPE KEY=VALUE ...
  local folder=$1
  if [ -e "$folder/result.json" ]; then return; fi
  $auricle distill "${@:2}" --out "$folder" --resume --devices "$DEVICES"
}

short() { distil "$WORK/run_short" tagger; }

longer() {  # probabilities, too: rare labels have to be heard, not only to vary
  distil "$WORK/run_longer" tagger initial_weights="$WORK/run_short/last" \
    front_end.statistics=initial training.epochs=8 training.optimizer.learning_rate=6e-4 \
    distillation.probabilities=20
}

long() { to_ten_seconds run_longer run_long tagger; }

to_ten_seconds() {  # FROM RUN RECIPE: positions of 10 s, from those of 5 s
  distil "$WORK/$2" "$3" initial_weights="$WORK/$1/last" model.max_frames=1008 \
    data.crop_seconds=10 front_end.statistics=initial training.epochs=1 \
    training.optimizer.learning_rate=3e-4 distillation.probabilities=20
}

tagger() { finish run_long tagger; }

further() {  # more epochs
  match run_long
  distil "$WORK/run_further" tagger initial_weights="$WORK/run_long/matched" \
    model.max_frames=1008 front_end.statistics=initial training.epochs=5 \
    training.optimizer.learning_rate=6e-4 distillation.probabilities=20
  to_ten_seconds run_further run_further_long tagger
}

level() {  # from the mean of both: softer and softer sound, as it is, and mixtures
  local mean="$WORK/mean"
  if [ ! -e "$mean" ]; then
    $auricle average "$WORK/run_long/matched" "$WORK/run_further_long/last" --out "$mean"
  fi
  distil "$WORK/run_level" tagger initial_weights="$mean" model.max_frames=1008 \
    front_end.statistics=initial training.epochs=3 training.optimizer.learning_rate=5e-4 \
    distillation.probabilities=20 front_end.min_level_dbfs=null \
    augmentation.gain_db='[-40, 10]' mixup.rate=0.3
}

tiny() {
  distil "$WORK/run_tiny" tagger_tiny
  to_ten_seconds run_tiny run_tiny_long tagger_tiny
}

tagger_tiny() { finish run_tiny_long tagger_tiny; }

match() {  # RUN: the spread of the teacher's answers
  local last="$WORK/$1/last" model="$WORK/$1/matched"
  if [ -e "$model" ] && [ ! "$model" -ot "$last" ]; then return; fi
  rm -rf "$model"
  $auricle match "$last" "$TEACHER" --data "$SOUNDS" --split train --out "$model"
}

finish() {  # RUN NAME: the spread of the teacher's answers, thresholds, scores, the shipped model
  local run=$1 model="$WORK/$1/matched" scores="$WORK/scores/$1"
  match "$run"
  $python scripts/set_front_end.py "$model"  # for weights that were trained without
  # Models of AudioSet seldom give one half: its annotators left out much of what is heard.
  $auricle agree "$model" "$TEACHER" --data "$SOUNDS" --split validation --calibrate \
    --threshold 0.2 --out "$scores/thresholds"
  $auricle prepare esc10 "$DATA/esc10" --out "$WORK/esc10.csv"
  $auricle evaluate "$model" --data "$WORK/esc10.csv" --classes esc10 --out "$scores/zero_shot"
  $auricle probe "$model" --data "$WORK/esc10.csv" --out "$scores/probe"
  $auricle agree "$model" "$TEACHER" --data "$SOUNDS" --split test --out "$scores/agreement"
  $python scripts/ship_builtin.py --work "$WORK" "$2"
  $python scripts/background.py "$SOUNDS" "src/auricle/builtin/$2"  # of the new encoder
}

if [ $# = 0 ]; then set -- teacher sounds short longer long tagger; fi
for stage in "$@"; do $stage; done
