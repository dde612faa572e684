-- What Lua's io library does with files in the current folder: modes, formats, positions, buffers, ends.
-- Error numbers are left out: they differ between systems where the texts do not.
local function show(label, ...)
  local parts = table.pack(...)
  -- nil, text, number
  if parts[1] == nil and type(parts[3]) == 'number' then parts.n = 2 end
  for i = 1, parts.n do
    local value = parts[i]
    parts[i] = type(value) == 'string' and string.format('%q', value) or io.type(value) or tostring(value)
  end
  print(label, table.concat(parts, ' ', 1, parts.n))
end

local function content(name)
  local file <close> = assert(io.open(name, 'rb'))
  return file:read('a')
end

local function put(name, text)
  local file <close> = assert(io.open(name, 'wb'))
  assert(file:write(text))
end

-- Modes, on a file that is there and on one that is not.
for _, mode in ipairs { 'r', 'w', 'a', 'r+', 'w+', 'a+', 'rb', 'wb', 'ab', 'r+b', 'w+b', 'a+b' } do
  for _, there in ipairs { true, false } do
    os.remove('mode')
    if there then put('mode', 'old content\n') end
    local file, text = io.open('mode', mode)
    show('open ' .. mode .. ' ' .. tostring(there), file and 'open' or file, text)
    if file then
      if mode:find('[wa+]') then
        show('  write', file:write('NEW') == file)
        show('  flush', file:flush() == file)
      end
      if mode:find('[r+]') then
        show('  seek', file:seek('set', 1))
        show('  read', file:read(4))
      end
      if mode:find('^r%+') or mode:find('^w%+') then
        show('  between', file:seek('cur', 0))
        show('  write again', file:write('..') == file)
      end
      show('  close', file:close())
      show('  content', content('mode'))
    end
  end
end
show('mode rw', pcall(io.open, 'mode', 'rw'))
show('mode x', pcall(io.open, 'mode', 'x'))

-- Appending: wherever the position is, what is written comes to the end; and two handles do not overwrite each other.
put('log', 'a')
local one, two = assert(io.open('log', 'a')), assert(io.open('log', 'a+'))
one:write('b') one:flush() two:write('c') two:flush() one:write('d') one:flush()
two:seek('set', 0) show('appended, read by the other', two:read('a'))
one:seek('set', 0) one:write('e') one:close() two:close()
show('appended', content('log'))

-- Formats of read.
put('formats', '12 0x1F -3.5e2 abc\nline two\r\n\n\0zero\nlast')
local file = assert(io.open('formats'))
show('n', file:read('n', 'n', 'n'))
show('not a number', file:read('n'))
show('rest of the line', file:read('l'))
show('L', file:read('L'))
show('empty line', file:read('l'))
show('0 in the middle', file:read(0))
show('l with a zero', file:read('l'))
show('several', file:read(2, 1, 'a'))
show('a at the end', file:read('a'))
show('l at the end', file:read('l'))
show('n at the end', file:read('n'))
show('0 at the end', file:read(0))
show('many at the end', file:read('l', 5))
show('bad format', pcall(file.read, file, 'x'))
file:close()
show('closed', pcall(file.read, file))
show('type', io.type(file), io.type(io.stdout), io.type(1))
show('tostring', tostring(file))

-- lines
put('lines', 'one\ntwo\n\nfour')
for line in io.lines('lines') do show('line', line) end
for line in io.lines('lines', 'L') do show('Line', line) end
for a, b in io.lines('lines', 1, 2) do show('pieces', a, b) end
for all in io.lines('lines', 'a') do show('all', all) break end
show('lines of what is not there', pcall(io.lines, 'nowhere'))
do
  local handle = assert(io.open('lines'))
  for line in handle:lines() do show('of a handle', line) end
  show('still open', io.type(handle), handle:read('a'))
  handle:close()
end

-- Positions: behind the end, from the end, far out; what was not written is zeros.
local sparse = assert(io.open('sparse', 'w+b'))
show('end of nothing', sparse:seek('end'))
show('far', sparse:seek('set', 5 * 2 ^ 30 // 1 | 0))
sparse:write('tail')
show('size', sparse:seek('end'))
show('back', sparse:seek('end', -6))
show('tail', sparse:read('a'))
show('in the hole', sparse:seek('set', 3 * 2 ^ 30 // 1 | 0), sparse:read(4))
show('before the start', sparse:seek('set', -1))
show('still there', sparse:seek())
sparse:close()
show('removed', os.remove('sparse'))

-- Buffers: what another handle sees before and after a flush.
for _, how in ipairs { 'no', 'full', 'line' } do
  local writer = assert(io.open('buffer', 'wb'))
  show('setvbuf ' .. how, writer:setvbuf(how, 1024))
  writer:write('first\nsecond')
  show('  seen at once', content('buffer'))
  writer:flush()
  show('  seen after a flush', content('buffer'))
  writer:write(('x'):rep(3000))
  writer:close()
  show('  in the end', #content('buffer'))
end

-- A handle that nobody has closed is closed when it is collected.
do
  io.open('forgotten', 'w'):write('was in a buffer')
  collectgarbage() collectgarbage()
  show('forgotten', content('forgotten'))
end

-- Standard files that lead elsewhere.
local before = io.output()
io.output('redirected')
io.write('by io.write ', 42, ' ', 1.5, '\n')
io.close()
io.output(before)
io.input('redirected')
show('io.read', io.read('l'))
show('io.read at the end', io.read('l'))
show('io.input', io.type(io.input()))
io.close(io.input())
show('io.read closed', pcall(io.read))

-- Files without a name.
local temporary = assert(io.tmpfile())
temporary:write('temporary')
temporary:seek('set')
show('tmpfile', temporary:read('a'), temporary:close())

-- What must fail.
show('folder for writing', io.open('.', 'w'))
show('below a file', io.open('lines/below', 'r'))
show('below nothing', io.open('nowhere/below', 'w'))
show('empty name', io.open('', 'r'))
local folder = assert(io.open('.', 'r'))
show('read a folder', folder:read(1))
folder:close()
show('write what is no string', pcall(function() put('bad', {}) end))

-- One file, many handles and much rewriting: the same as a string that is changed so.
local seed = 42
local function random(limit)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed // 65536 % limit
end
local model, handles = {}, {}
for i = 1, 20000 do model[i] = string.char(97 + random(26)) end
put('rewritten', table.concat(model))
for i = 1, 4 do
  handles[i] = assert(io.open('rewritten', 'r+b'))
  handles[i]:setvbuf(i % 2 == 0 and 'no' or 'full')
end
local wrong = 0
for step = 1, 2000 do
  local which, at, length = 1 + random(4), random(19000), 1 + random(300)
  -- A handle with a buffer may show what it has read before.
  if step % 3 ~= 0 then which = which <= 2 and 2 or 4 end
  local handle = handles[which]
  handle:seek('set', at)
  if step % 3 == 0 then
    local text = string.char(65 + random(26)):rep(length)
    handle:write(text) handle:flush()
    for i = 1, length do model[at + i] = text:sub(i, i) end
  elseif handle:read(length) ~= table.concat(model, '', at + 1, math.min(at + length, #model)) then
    wrong = wrong + 1
  end
end
for i = 1, 4 do handles[i]:close() end
show('rewritten', wrong, content('rewritten') == table.concat(model))
