#!/usr/bin/gawk -f
# SPDX-License-Identifier: MIT
# Associative arrays over the words of a text: counts, neighbours, reversals.
{
	before = ""
	for (i = 1; i <= NF; i++) {
		count[$i]++
		if (before != "")
			follows[before, $i] = follows[before, $i] + 1
		before = $i
	}
	lines[NR] = toupper($0)
}
END {
	n = asorti(count, order)
	for (pair in follows) {
		split(pair, part, SUBSEP)
		if (length(joined[part[1]]) < 200)
			joined[part[1]] = joined[part[1]] " " part[2]
	}
	for (i = 1; i <= NR; i++)
		total += length(substr(lines[i], 1, 20) i)
	for (i = 1; i <= n; i++)
		total += length(joined[order[i]])
	print n, total
}
