#!/bin/sh
# A worker in shell for `chargehand run --serve` and `chargehand worker --serve`: greets whom a task names.
#
# One task at a time, without any other program. A task stays as JSON has it between its quotes, escapes and all,
# so it may go back into quotes as it is; to look into it, give it to jq.
while IFS= read -r line; do
  id=${line#*'"id":'}
  id=${id%%[,\}]*}
  case $line in
    *'"cancel":true}') continue ;;
  esac
  name=${line#*'"task":"'}
  name=${name%'"}'}
  if [ -n "$name" ]; then
    printf '{"id":%s,"result":"hello, %s"}\n' "$id" "$name"
  else
    printf '{"id":%s,"error":"nobody is named"}\n' "$id"
  fi
done
