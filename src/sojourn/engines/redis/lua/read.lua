-- Read keys and spans as one snapshot.
--
-- Arguments: time, latest time seen, {keys, spans} packed, a span being {low, high, most, reversed}.
-- Returns the time, the record at each key or nothing, and for each span a list of key, record, key, record.

local keys, spans = unpack(cmsgpack.unpack(ARGV[3]))
local now = clock(call('HGET', META, 'clock'))

local records, found = fetch(RECORDS, keys), {}
for place, record in ipairs(records) do
  if record then
    local _, _, expires = struct.unpack(HEAD, record)
    records[place] = expires > now and record
  end
end
for place, span in ipairs(spans) do
  found[place] = scan(ITEMS, span[1], span[2], span[3], span[4], now)
end
return {now, records, found}
