-- Read the change log behind a position.
--
-- Arguments: time, latest time seen, the position or nothing, how many entries to return at most.
-- Returns the position reached, whether nothing is missing in between (1), and the changed keys of each entry, packed.
--
-- Each entry names the one before it. So if the first one found follows the position, nothing is missing, whether the
-- log has been trimmed or the server has lost data; and without any, the position must be that of the last one.

local last, since = call('HGET', META, 'last') or '0', ARGV[3]
if since == '' or since == last then
  return {last, 1, {}}
end
local found, reached = {}, since
for place, entry in ipairs(call('XRANGE', CHANGES, '(' .. since .. '-0', '+', 'COUNT', ARGV[4])) do
  local fields = entry[2]
  if fields[2] ~= reached then
    return {last, 0, {}}
  end
  found[place], reached = fields[4], string.match(entry[1], '^%d+')
end
if #found == 0 then
  return {last, 0, {}}
end
return {reached, 1, found}
