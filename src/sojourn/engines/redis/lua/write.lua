-- What the scripts that write have in common: the counters of the bucket, its log and its receipts.
--
-- Their next arguments are
--   the store's name, and how many buckets it has
--   for how many milliseconds a receipt is kept

local meta = call('HMGET', META, 'last', 'clock', 'period', 'format')
local last, period = tonumber(meta[1] or 0), tonumber(meta[3] or 0)
local now = clock(meta[2])
local before = last

-- The next number of the bucket, greater than all it ever gave: also after it lost its newest data, since numbers follow
-- the time. It is given by assigning it to `last`.
local function next_number()
  return math.max(last + 1, now * 1000)
end

-- Keep receipts for this period and the last one: those before are forgotten as a whole. Returns how many.
local function turn()
  local this, dropped = math.floor(now / tonumber(ARGV[5])), 0
  for old = math.max(period + 1, this - 1), this do
    dropped = dropped + call('HLEN', RECEIPTS[old % 2])
    call('UNLINK', RECEIPTS[old % 2])
  end
  period = math.max(period, this)
  return dropped
end

-- Announce the changed keys in the log, by an entry that names the one before, and write the counters down. A bucket
-- that the server has lost begins anew.
local function conclude(changed)
  if #changed > 0 and last == before then
    last = next_number()
  end
  local position = string.format('%.0f', last)
  if #changed > 0 then
    call('XADD', CHANGES, position .. '-0', 'before', meta[1] or '0', 'keys', cmsgpack.pack(changed))
  end
  if not meta[4] then
    call('HSET', META, 'format', '1', 'store', ARGV[3], 'buckets', ARGV[4])
  end
  call('HSET', META, 'last', position, 'clock', string.format('%.0f', now), 'period', period)
end
