-- Apply a batch: every transaction whole or not at all, in order, each to what those before it have left.
--
-- Arguments, after those of write.lua
--   the ids of the transactions that have one, 16 bytes each
--   {keys, transactions}, packed; transactions name keys by their place
--   the values
-- A transaction is {place of its id or 0, attempt, guards, writes, keys to read, spans to read}, where
--   guards   kind, key or span, number; ...
--   writes   kind, key or span, place of the value, rank, expiry; ...
--   span     {low, high, most, reversed}
--   number, rank, expiry: a number, a pair {offset, step} from now on, false for none, true for what is there
-- Returns the time, and for each transaction its revision (0 for none) if there is no more to say, or one of
--   {1, revision, attempt, remaining, repeated, records, spans}
--   {2, place of the guard, record found}
--   {3, cause}
--
-- Records are changed in the tables below, and the tables are written back at the end, or when an index is to be read:
-- so ten writes of one record are one, and each command runs once for the whole batch.

local ABSENT, PRESENT, REVISION, RANK = 1, 2, 3, 4
local PUT, CREATE, ENSURE, TOUCH, DELETE, APPEND, DELETE_SPAN = 1, 2, 3, 4, 5, 6, 7

local keys, transactions = unpack(cmsgpack.unpack(ARGV[7]))

-- The live record at each key, and its head; nothing where there is none.
local records, revisions, ranks, expiries = {}, {}, {}, {}
-- What the indexes hold for it, a dead record's too; nothing where nothing is stored.
local held_ranks, held_expiries = {}, {}
-- The places of keys: that have been changed since they were written back; that are to be announced.
local unwritten, is_unwritten, changed, is_changed = {}, {}, {}, {}
-- The place of each key, made when a span first asks.
local places

local function learn(place, record)
  local revision, rank, expires = struct.unpack(HEAD, record)
  held_ranks[place], held_expiries[place] = rank, expires
  if expires > now then
    records[place], revisions[place], ranks[place], expiries[place] = record, revision, rank, expires
  end
end

for place, record in ipairs(fetch(RECORDS, keys)) do
  if record then
    learn(place, record)
  end
end

local has_written = false
local function write_back()
  if #unwritten == 0 then
    return
  end
  has_written = true
  local written, gone = {}, {}
  local items, ranked, unranked, ending, endless = {}, {}, {}, {}, {}
  for _, place in ipairs(unwritten) do
    is_unwritten[place] = nil
    local key, record, rank, expires = keys[place], records[place], ranks[place], expiries[place]
    local held_rank, held_expiry = held_ranks[place] or NONE, held_expiries[place] or NONE
    local is_new = held_ranks[place] == nil
    if record then
      written[#written + 1], written[#written + 2] = key, record
      if is_new then
        items[#items + 1], items[#items + 2] = 0, key
      end
      held_ranks[place], held_expiries[place] = rank, expires
    else
      rank, expires = NONE, NONE
      if not is_new then
        gone[#gone + 1] = key
      end
      held_ranks[place], held_expiries[place] = nil, nil
    end
    if rank ~= held_rank then
      if held_rank ~= NONE then
        unranked[#unranked + 1] = rank_member(key, held_rank)
      end
      if rank ~= NONE then
        ranked[#ranked + 1], ranked[#ranked + 2] = 0, rank_member(key, rank)
      end
    end
    if expires ~= held_expiry then
      if expires ~= NONE then
        ending[#ending + 1], ending[#ending + 2] = expires, key
      else
        endless[#endless + 1] = key
      end
    end
  end
  unwritten = {}
  -- What needs memory comes first: a server that has none left refuses the first command, and none after it.
  each('HSET', RECORDS, written)
  each('ZADD', ITEMS, items)
  each('ZADD', RANKS, ranked)
  each('ZADD', EXPIRIES, ending)
  each('ZREM', RANKS, unranked)
  each('ZREM', EXPIRIES, endless)
  each('HDEL', RECORDS, gone)
  each('ZREM', ITEMS, gone)
end

-- The live records of a span, as the transactions before have left it.
local is_writing = false -- an error now would be the server's, not the transaction's
local function scan_span(span, most)
  is_writing = true
  write_back()
  is_writing = false
  return scan(ITEMS, span[1], span[2], most, span[4], now)
end

local function place_of(key)
  if not places then
    places = {}
    for place, known in ipairs(keys) do
      places[known] = place
    end
  end
  local place = places[key]
  if not place then
    place = #keys + 1
    keys[place], places[key] = key, place
  end
  return place
end

local function span_is(span, newest)
  local found, greatest = scan_span(span, span[3] + 1), 0
  for place = 2, #found, 2 do
    greatest = math.max(greatest, (struct.unpack(HEAD, found[place])))
  end
  return #found == 2 * span[3] and greatest == newest
end

local function holds(kind, place, number)
  if kind == REVISION then
    return revisions[place] == number
  elseif kind == ABSENT then
    return not records[place]
  elseif kind == PRESENT then
    return records[place] ~= nil
  elseif kind == RANK then
    return records[place] ~= nil and ranks[place] <= instant(number, now)
  end
  return span_is(place, number)
end

-- A rank or an expiry, where `kept` stands now.
local function resolved(number, kept)
  if number == true then
    return kept
  end
  return number and instant(number, now) or NONE
end

-- What a transaction is to change: a list of place, record or false, revision, rank, expiry; and beside it the revision
-- that it has drawn, the places that its spans remove, and whether a span has more to remove. While a plan is made
-- nothing is changed, so an error on the way leaves nothing to undo.
local plan, drawn, gone, many_gone, remaining

local function add(place, record, revision, rank, expires)
  local next = #plan
  plan[next + 1], plan[next + 2], plan[next + 3], plan[next + 4], plan[next + 5] =
    place, record, revision, rank, expires
end

local function add_new(place, value, rank, expires)
  drawn = drawn or next_number()
  rank, expires = resolved(rank, NONE), resolved(expires, NONE)
  add(place, struct.pack(HEAD, drawn, rank, expires) .. ARGV[value], drawn, rank, expires)
end

local function add_touched(place, rank, expires)
  rank, expires = resolved(rank, ranks[place]), resolved(expires, expiries[place])
  if rank ~= ranks[place] or expires ~= expiries[place] then
    local head = struct.pack(HEAD, revisions[place], rank, expires)
    add(place, head .. string.sub(records[place], HEAD_BYTES + 1), revisions[place], rank, expires)
  end
end

local function add_span(span)
  local most = many_gone + span[3]
  local found = scan_span(span, most + 1)
  for member = 1, #found, 2 do
    local place = place_of(found[member])
    if not gone[place] then
      if many_gone == most then
        remaining = 1
        return
      end
      if not records[place] then
        learn(place, found[member + 1])
      end
      gone[place], many_gone = true, many_gone + 1
      add(place, false, 0, NONE, NONE)
    end
  end
end

local function appended_key(prefix, order)
  local revision = drawn or next_number()
  return prefix .. string.format('%08x%08x%04x', math.floor(revision / 2 ^ 32), revision % 2 ^ 32, order)
end

local function make_plan(writes)
  plan, drawn, gone, many_gone, remaining = {}, nil, {}, 0, 0
  for at = 1, #writes, 5 do
    if writes[at] == DELETE_SPAN then
      add_span(writes[at + 1])
    end
  end
  for at = 1, #writes, 5 do
    local kind, place, value, rank, expires = unpack(writes, at, at + 4)
    local stands = records[place] and not gone[place]
    if kind == PUT or not stands and (kind == CREATE or kind == ENSURE) then
      add_new(place, value, rank, expires)
    elseif kind == APPEND then
      add_new(place_of(appended_key(place, (at - 1) / 5)), value, rank, expires)
    elseif stands and kind == DELETE then
      add(place, false, 0, NONE, NONE)
    elseif stands and (kind == TOUCH or kind == ENSURE) then
      add_touched(place, rank, expires)
    end
  end
end

local function carry_out()
  last = drawn or last
  for at = 1, #plan, 5 do
    local place, record, revision, rank, expires = unpack(plan, at, at + 4)
    if not is_changed[place] and (not record or revision ~= revisions[place]) then
      changed[#changed + 1], is_changed[place] = keys[place], true
    end
    if not is_unwritten[place] then
      unwritten[#unwritten + 1], is_unwritten[place] = place, true
    end
    records[place], revisions[place] = record or nil, record and revision or nil
    ranks[place], expiries[place] = rank, expires
  end
end

-- The receipts of these transactions, where there are any: revision and attempt, as text.
local ids, receipts, new_receipts = {}, {}, {}
for place = 1, #ARGV[6] / 16 do
  ids[place] = string.sub(ARGV[6], 16 * place - 15, 16 * place)
end
for parity = 0, 1 do
  for place, receipt in ipairs(fetch(RECEIPTS[parity], ids)) do
    receipts[ids[place]] = receipt or receipts[ids[place]]
  end
end

-- An outcome of the first kind. What was asked to be read is read last.
local function committed(transaction, revision, attempt, remaining, repeated)
  local wanted, spans = transaction[5], transaction[6]
  if repeated == 0 and remaining == 0 and not wanted then
    return revision
  end
  local found, found_spans = {}, {}
  for at, place in ipairs(wanted or {}) do
    found[at] = records[place] or false
  end
  for at, span in ipairs(spans or {}) do
    found_spans[at] = scan_span(span, span[3])
  end
  return {1, revision, attempt, remaining, repeated, found, found_spans}
end

local is_bound = false -- whether an error now would leave something half done

local function apply(transaction)
  local id, attempt, guards, writes = ids[transaction[1]], transaction[2], transaction[3], transaction[4]
  if id and receipts[id] then
    local revision, first_attempt = string.match(receipts[id], '(%d+) (%d+)')
    return committed(transaction, tonumber(revision), tonumber(first_attempt), 0, 1)
  end
  for at = 1, #guards, 3 do
    if not holds(guards[at], guards[at + 1], guards[at + 2]) then
      return {2, (at - 1) / 3, records[guards[at + 1]] or false}
    end
  end
  make_plan(writes)
  is_bound = true
  carry_out()
  if id then
    receipts[id] = string.format('%.0f ', drawn or 0) .. attempt
    new_receipts[#new_receipts + 1], new_receipts[#new_receipts + 2] = id, receipts[id]
  end
  local outcome = committed(transaction, drawn or 0, attempt, remaining, 0)
  is_bound = false
  return outcome
end

local outcomes = {}
for place, transaction in ipairs(transactions) do
  local is_sound, outcome = pcall(apply, transaction)
  if not is_sound then
    if is_bound or is_writing then
      error(outcome, 0)
    end
    outcome = {3, tostring(outcome)}
  end
  outcomes[place] = outcome
end

write_back()
if #new_receipts > 0 then
  turn()
  each('HSET', RECEIPTS[period % 2], new_receipts)
end
if #new_receipts > 0 or has_written then
  conclude(changed)
end
return {now, outcomes}
