#!/bin/sh
# The embedding server: the options that launch/vllm_server.py starts it with.
# Not `vllm serve`: the CPU build is a distribution of another name, which that command looks up.
set -eu
: "${VLLM_API_KEY:?no VLLM_API_KEY: the server would be open to everybody on its network}"
model=${SCALREC_EMBEDDER__MODEL:-minilm}
name=${model##*/}
# vLLM's rendezvous files, and what torch and transformers would keep in a home.
export TMPDIR=/tmp HF_HOME=/tmp/hf VLLM_CACHE_ROOT=/tmp/vllm VLLM_CONFIG_ROOT=/tmp/vllm-config
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}
export VLLM_CPU_NUM_OF_RESERVED_CPU=${VLLM_CPU_NUM_OF_RESERVED_CPU:-0} # else one core stays idle
# As shared/number_format.py: bfloat16 where the CPU is quicker in it.
dtype=float32
if grep -qE '^(flags|Features)[[:space:]]*:.* (amx_bf16|bf16)( |$)' /proc/cpuinfo; then
  dtype=bfloat16
elif grep -q AuthenticAMD /proc/cpuinfo && grep -qE '^flags.* avx512_bf16( |$)' /proc/cpuinfo; then
  dtype=bfloat16
fi
exec python -m vllm.entrypoints.openai.api_server \
  --model "/cache/models/served/$name" --served-model-name "$name" \
  --host 0.0.0.0 --port 8000 \
  --runner pooling --pooler-config "{\"pooling_type\":\"${SCALREC_EMBEDDER__POOLING:-MEAN}\"}" \
  --max-model-len 512 --disable-uvicorn-access-log --dtype "$dtype" --enforce-eager "$@"
