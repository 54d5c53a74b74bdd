-- Remove expired records and announce them; trim the log; forget old receipts.
--
-- Arguments, after those of write.lua
--   how many records to remove at most
--   for how many milliseconds the log is kept, how many entries at most, and how many to drop now at most, about
-- Returns how many records, entries and receipts are gone, and whether the log may have more to drop (1).

local most = tonumber(ARGV[6])
local due = call('ZRANGEBYSCORE', EXPIRIES, '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
local unranked = {}
for place, record in ipairs(fetch(RECORDS, due)) do
  if record then
    local _, rank = struct.unpack(HEAD, record)
    if rank ~= NONE then
      unranked[#unranked + 1] = rank_member(due[place], rank)
    end
  end
end
each('HDEL', RECORDS, due)
each('ZREM', ITEMS, due)
each('ZREM', EXPIRIES, due)
each('ZREM', RANKS, unranked)

-- The newest entry stays whatever its age, to be seen by whoever waits at an older place.
local oldest = math.min(last, math.max(0, now - tonumber(ARGV[7])) * 1000)
local rows = call('XTRIM', CHANGES, 'MINID', '~', string.format('%.0f', oldest), 'LIMIT', ARGV[9])
  + call('XTRIM', CHANGES, 'MAXLEN', '~', ARGV[8], 'LIMIT', ARGV[9])
local receipts = turn()
if #due + rows + receipts > 0 then
  conclude(due)
end
return {#due, rows, receipts, rows > 0 and 1 or 0}
