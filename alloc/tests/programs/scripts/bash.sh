# SPDX-License-Identifier: MIT
# What bash allocates for: arrays, strings, functions, jobs, documents.
set -u

declare -A count=()
for ((i = 0; i < 20000; i++)); do
	key=$((i * 7919 % 997))
	count[k$key]=$((${count[k$key]:-0} + i))
done
echo "${#count[@]} ${count[k5]} ${count[k996]}"

words=()
for ((i = 0; i < 5000; i++)); do
	words+=("word$i")
done
words=("${words[@]/word/w}")
unset 'words[3]'
echo "${#words[@]} ${words[*]:2:5} ${words[-1]^^}"

text=x
for ((i = 0; i < 16; i++)); do
	text+=$text
done
echo "${#text} ${text:100:5} $(printf %s "$text" | wc -c)"

fib() {
	local n=$1
	((n < 2)) && echo "$n" && return
	echo $(($(fib $((n - 1))) + $(fib $((n - 2)))))
}
fib 8

while read -r number name; do
	printf '%s=%03d ' "$name" "$number"
done < <(for i in 3 1 2; do echo "$i n$i"; done | sort)
echo

cat <<END
document $(echo nested "$(echo deeper)") ${text:0:3}
END

trap 'echo "got USR1"' USR1
kill -USR1 $$
trap 'echo bye' EXIT

for i in 1 2 3; do
	(sleep 0.0$i && exit $i) &
done
status=0
for job in $(jobs -p); do
	wait "$job" || status=$((status + $?))
done
echo "status $status"

[[ "apb-1.25" =~ ^([a-z]+)-([0-9]+)\.([0-9]+)$ ]] && echo "${BASH_REMATCH[@]}"
mapfile -t lines < <(seq 1 3000)
echo "${#lines[@]} $(IFS=+; echo $((${lines[*]})))"
eval "$(printf 'f%d() { echo -n %d; }\n' $(seq 1 200 | sed 'p'))"
f7 && f200 && echo
