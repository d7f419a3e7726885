#!/usr/bin/lua5.4
-- SPDX-License-Identifier: MIT
-- Tables and strings: trees, words by length, closures, text pieced together.
local scale = tonumber(arg[1] or "100")

local function tree(depth)
	if depth == 0 then
		return {}
	end
	return {tree(depth - 1), tree(depth - 1)}
end

local function count(node)
	if not node[1] then
		return 1
	end
	return 1 + count(node[1]) + count(node[2])
end

local nodes, seed = 0, 42
for _ = 1, scale // 4 do
	nodes = nodes + count(tree(10))
end

local function random(n)
	seed = (seed * 1103515245 + 12345) % 2147483648
	return seed // 65536 % n + 1
end

local by_length, pieces = {}, {}
for i = 1, scale * 1000 do
	local word = string.rep(string.char(96 + random(26)), random(20)) .. i
	local list = by_length[#word]
	if not list then
		list = {}
		by_length[#word] = list
	end
	list[#list + 1] = {word = word, at = i, next = function() return i end}
	if i % 10 == 0 then
		pieces[#pieces + 1] = word:upper():gsub("A", "aa")
	end
end
local total = 0
for _, list in pairs(by_length) do
	for _, entry in ipairs(list) do
		total = total + entry.next() % 7
	end
end
print(nodes, total, #table.concat(pieces, " "))
