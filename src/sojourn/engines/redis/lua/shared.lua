-- What several scripts need. It stands before each of them.
--
-- Every script is given the same keys, and first of its arguments
--   the time in milliseconds, or nothing where the server's clock is the one
--   the latest time that the caller has seen
--
-- Numbers are doubles, exact up to 2^53. No time, rank or revision is beyond.

local META, RECORDS, ITEMS, RANKS, EXPIRIES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local RECEIPTS = {[0] = KEYS[6], [1] = KEYS[7]}
local CHANGES = KEYS[8]

local call = redis.call

-- A packed record is its revision, its rank and its expiry as doubles, then its value. No rank, or no expiry, is
-- infinity: it is at most nothing, and never reached, so it needs no question of its own.
local HEAD, HEAD_BYTES, NONE = '<ddd', 24, math.huge

-- As many values as one call is given: Lua's stack has room for a few more.
local MANY = 4000

-- The time of the server's clock, which does not step back: not behind what the bucket keeps, nor what the caller saw.
local function clock(kept)
  if ARGV[1] ~= '' then
    return tonumber(ARGV[1])
  end
  local time = call('TIME')
  return math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(kept or 0), tonumber(ARGV[2]))
end

-- The number itself, or what a pair {offset, step} stands for at this time.
local function instant(number, now)
  if type(number) ~= 'table' then
    return number
  end
  local at, step = now + number[1], number[2]
  local beyond = math.fmod(at, step)
  return beyond > 0 and at - beyond + step or at - beyond
end

-- A number below 2^53 as 14 hex digits. In two halves: each fits the integers of any server.
local function hex(number)
  return string.format('%06x%08x', math.floor(number / 2 ^ 32), number % 2 ^ 32)
end

-- A rank as text that sorts like the number.
local function rank_text(rank)
  return rank < 0 and '0' .. hex(rank + 2 ^ 53) or '1' .. hex(rank)
end

-- Space, rank, partition and item, from a key of the form space NUL partition NUL item.
local function rank_member(key, rank)
  local space, rest = string.match(key, '^(%Z*)%z(.*)$')
  return space .. '\0' .. rank_text(rank) .. '\0' .. rest
end

-- Run a command on any number of values, which come in pairs where it takes pairs.
local function each(command, key, values)
  for first = 1, #values, MANY do
    call(command, key, unpack(values, first, math.min(first + MANY - 1, #values)))
  end
end

-- The values of any number of fields, false where there is none.
local function fetch(hash, fields)
  if #fields <= MANY then
    return #fields > 0 and call('HMGET', hash, unpack(fields)) or {}
  end
  local found = {}
  for first = 1, #fields, MANY do
    local page = call('HMGET', hash, unpack(fields, first, math.min(first + MANY - 1, #fields)))
    for place = 1, #page do
      found[first + place - 1] = page[place]
    end
  end
  return found
end

-- The first live records between two bounds of an index, as a list of key, record, key, record. `key_of` gives the key
-- that a member of the index stands for.
local function scan(index, low, high, most, reversed, now, key_of)
  local found, count = {}, 0
  while count < most do
    local wanted, page = most - count, nil
    if reversed then
      page = call('ZREVRANGEBYLEX', index, high, low, 'LIMIT', 0, wanted)
    else
      page = call('ZRANGEBYLEX', index, low, high, 'LIMIT', 0, wanted)
    end
    local keys = page
    if key_of then
      keys = {}
      for place = 1, #page do
        keys[place] = key_of(page[place])
      end
    end
    local records = fetch(RECORDS, keys)
    for place = 1, #keys do
      local record = records[place]
      if record then
        local _, _, expires = struct.unpack(HEAD, record)
        if expires > now then
          count = count + 1
          found[2 * count - 1], found[2 * count] = keys[place], record
        end
      end
    end
    if #page < wanted then
      break
    end
    if reversed then
      high = '(' .. page[#page]
    else
      low = '(' .. page[#page]
    end
  end
  return found
end
