-- What bulk.lua has left, judged by its own list.
local function sum(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local right, wrong = 0, 0
for line in io.lines('list') do
  local name, size, expected = line:match('^(%S+) (%d+) (%d+)$')
  local file, text = io.open(name, 'rb')
  local data = file and file:read('a')
  if data and #data == tonumber(size) and sum(data) == tonumber(expected) then
    right = right + 1
  else
    wrong = wrong + 1
    print('wrong', name, text or #data)
  end
  if file then file:close() end
end
print('right', right, 'wrong', wrong)
for _, name in ipairs { 'small-5', 'small-7', 'mode', 'log', 'lines', 'rewritten', 'sparse', 'old' } do
  local file = io.open(name, 'rb')
  print(name, file and sum(file:read('a')))
  if file then file:close() end
end
