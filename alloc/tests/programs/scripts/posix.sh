# SPDX-License-Identifier: MIT
# For dash: strings, functions, substitutions, here documents, pipes.
set -eu

list=
i=0
while [ $i -lt 3000 ]; do
	list="$list item$i"
	i=$((i + 1))
done
set -- $list
echo "$# $1 ${list##* } ${#list}"

depth() {
	[ "$1" -eq 0 ] && echo end || echo "$1 $(depth $(($1 - 1)))"
}
depth 12

total=0
for n in $(seq 1 500); do
	case $n in
	*[05]) total=$((total + n)) ;;
	*) ;;
	esac
done
echo $total

tr a-z A-Z <<END | sed 's/O/0/g'
here is $total in a document
END
