-- Many files and some large ones, whose content follows from their names; again.lua looks at them in another process.
local function sum(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local seed = 7
local function random(limit)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed // 65536 % limit
end

local function text(length)
  local pieces = {}
  for i = 1, length // 8 + 1 do pieces[i] = string.format('%08x', random(32768) * 32768 + random(32768)) end
  return table.concat(pieces):sub(1, length)
end

local list = assert(io.open('list', 'w'))
local total = 0
local function note(name, data)
  list:write(string.format('%s %d %d\n', name, #data, sum(data)))
  total = total + #data
end

-- Small ones, some of them under other names in the end or not at all.
for i = 1, 400 do
  local name, data = 'small-' .. i, text(random(3000))
  local file <close> = assert(io.open(name, 'wb'))
  for at = 1, #data, 500 do file:write(data:sub(at, at + 499)) end
  file:close()
  if i % 5 == 0 then
    assert(os.remove(name))
  elseif i % 7 == 0 then
    assert(os.rename(name, 'renamed-' .. i))
    note('renamed-' .. i, data)
  else
    note(name, data)
  end
end

-- Two large ones that grow by turns, and one that is written from its end to its start.
local one, two, grown = assert(io.open('large-1', 'ab')), assert(io.open('large-2', 'ab')), { {}, {} }
for i = 1, 60 do
  local piece = text(5000 + random(3000))
  local which = i % 2 + 1
  ;(which == 1 and one or two):write(piece)
  table.insert(grown[which], piece)
end
one:close() two:close()
note('large-1', table.concat(grown[1]))
note('large-2', table.concat(grown[2]))

local backwards, pieces = assert(io.open('backwards', 'w+b')), {}
for i = 40, 1, -1 do
  pieces[i] = text(4096)
  backwards:seek('set', (i - 1) * 4096)
  backwards:write(pieces[i])
end
backwards:close()
note('backwards', table.concat(pieces))
list:close()
print('bytes', total)
