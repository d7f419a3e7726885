-- SPDX-License-Identifier: MIT
-- Tables, strings, closures, coroutines and the collector of Lua.
local function checksum(s)
	local sum = 0
	for i = 1, #s do
		sum = (sum * 31 + s:byte(i)) % 4294967291
	end
	return sum
end

local t = {}
for i = 1, 200000 do
	t["key" .. i * 7919 % 50021] = { i, name = "n" .. i }
end
local n, total = 0, 0
for _, v in pairs(t) do
	n, total = n + 1, total + v[1]
end
print(n, total)
for i = 1, 50000, 2 do
	t["key" .. i] = nil
end
collectgarbage()

local parts = {}
for i = 1, 50000 do
	parts[#parts + 1] = string.format("%d:%s;", i, string.rep("x", i % 17))
end
local text = table.concat(parts)
print(#text, checksum(text))
local replaced = text:gsub("(%d+):", function(d) return "<" .. d:reverse() .. ">" end)
print(#replaced, checksum(replaced))

local long = ""
for i = 1, 3000 do
	long = long .. i
end
print(#long, checksum(long))

local function tree(depth)
	if depth == 0 then
		return {}
	end
	return { tree(depth - 1), tree(depth - 1) }
end
local function count(node)
	return 1 + (node[1] and count(node[1]) + count(node[2]) or 0)
end
for _ = 1, 5 do
	print(count(tree(14)))
end

local function producer(limit)
	return coroutine.wrap(function()
		for i = 1, limit do
			coroutine.yield({ i, tostring(i) })
		end
	end)
end
local sum = 0
for _ = 1, 300 do
	for item in producer(50) do
		sum = sum + item[1] + #item[2]
	end
end
print(sum)

local dead = 0
for i = 1, 20000 do
	setmetatable({}, { __gc = function() dead = dead + 1 end })
end
collectgarbage()
collectgarbage()
print(dead)

local array = {}
for i = 1, 100000 do
	array[i] = (i * 7919) % 100003
end
table.sort(array)
print(array[1], array[50000], array[100000])
collectgarbage("generational")
for i = 1, 100000 do
	array[i] = { array[i] }
end
array = nil
collectgarbage()
print(pcall(string.rep, "x", 1 << 40))
print(select("#", table.unpack(parts, 1, 200)))
print(load("local a = ... return a * 2")(21))
