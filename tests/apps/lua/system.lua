-- What Lua's os library does in the current folder. Error numbers are left out, as they differ between systems.
local function show(label, ...)
  local parts = table.pack(...)
  if parts[1] == nil and type(parts[3]) == 'number' then parts.n = 2 end
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  print(label, table.concat(parts, ' | ', 1, parts.n))
end

local function put(name, text)
  local file <close> = assert(io.open(name, 'wb'))
  assert(file:write(text))
end

local function content(name)
  local file, text = io.open(name, 'rb')
  if not file then return text end
  local all = file:read('a')
  file:close()
  return all
end

-- rename
put('old', 'the old one') put('new', 'the new one')
show('rename', os.rename('old', 'moved'))
show('what moved', content('moved'))
show('where it was', content('old'))
show('rename over', os.rename('moved', 'new'))
show('what is there', content('new'))
show('rename to itself', os.rename('new', 'new'))
show('rename nothing', os.rename('nothing', 'other'))
show('rename below nothing', os.rename('new', 'nothing/new'))
show('rename below a file', os.rename('new', 'new/below'))
show('rename empty', os.rename('', 'other'))

-- An open file goes on under its new name, and without one.
local file = assert(io.open('new', 'r+b'))
show('rename an open file', os.rename('new', 'open'))
file:write('THE') file:flush()
show('written under another name', content('open'))
show('remove an open file', os.remove('open'))
show('its name', content('open'))
file:seek('end') file:write(' goes on') file:seek('set')
show('without a name', file:read('a'))
file:close()

-- remove
put('victim', '')
show('remove', os.remove('victim'))
show('remove again', os.remove('victim'))
show('remove below nothing', os.remove('nothing/victim'))
put('file', '')
show('remove below a file', os.remove('file/victim'))
show('remove empty', os.remove(''))

-- names
local name = os.tmpname()
show('tmpname is a file', content(name) == '', os.remove(name))
local strange = 'a name with spaces, \u{e4}\u{f6}\u{fc}, \u{6f22}\u{5b57} and "quotes"'
put(strange, 'strange')
show('strange name', content(strange), os.remove(strange))
local long = ('n'):rep(255)
put(long, 'long')
show('long name', content(long), os.remove(long))
show('too long', (io.open(long .. 'n', 'w')))
show('this folder', content('./file') == '', content('././/file') == '', content('../nothing'))

-- time
show('time', os.time { year = 2024, month = 2, day = 30, hour = 12 } - os.time { year = 2024, month = 3, day = 1, hour = 12 })
show('difftime', os.difftime(1000, 400))
show('date', os.date('!%Y-%m-%d %H:%M:%S %j %a %b', 1700000000))
local parts = os.date('!*t', 86400 * 365)
show('date table', parts.year, parts.month, parts.day, parts.hour, parts.wday, parts.yday, parts.isdst)

-- environment
show('getenv', os.getenv('NO_SUCH_VARIABLE'))
show('setlocale', os.setlocale('C'))

-- load and require by file
put('chunk.lua', 'return ...')
show('loadfile', assert(loadfile('chunk.lua'))('given'))
put('broken.lua', 'return +')
show('broken', loadfile('broken.lua'))
put('module.lua', 'return { answer = 42, name = ... }')
package.path = './?.lua'
local module = require('module')
show('require', module.answer, module.name, package.searchpath('module', package.path))
show('require nothing', (pcall(require, 'no_module')))
show('dofile', pcall(dofile, 'nothing.lua'))
for _, left in ipairs { 'chunk.lua', 'broken.lua', 'module.lua', 'file' } do show('remove ' .. left, os.remove(left)) end
