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
-- Records are changed in a table, and the table is written back at the end, or when an index is to be read: so ten writes
-- of one record are one, and each command runs once for the whole batch.

local keys, transactions = unpack(cmsgpack.unpack(ARGV[7]))

-- What is known of each key. `record` is the live one with its head, or false; what the indexes hold is told apart, since
-- they also hold the dead: no `held_rank` says that nothing is stored.
local known = {}

local function learn(place, record)
  local revision, rank, expires = 0, NONE, NONE
  if record then
    revision, rank, expires = struct.unpack(HEAD, record)
  end
  known[place] = {
    record = record and expires > now and record, revision = revision, rank = rank, expires = expires,
    held_rank = record and rank, held_expires = expires, is_unwritten = false, is_announced = false,
  }
end

for place, record in ipairs(fetch(RECORDS, keys)) do
  learn(place, record)
end

-- The places of keys that have changed since they were written back, and the keys that are to be announced.
local unwritten, announced, has_written = {}, {}, false

local function write_back()
  if #unwritten == 0 then
    return
  end
  local written, gone = {}, {}
  local items, ranked, unranked, ending, endless = {}, {}, {}, {}, {}
  for _, place in ipairs(unwritten) do
    local key, one = keys[place], known[place]
    local held_rank, rank, expires = one.held_rank or NONE, NONE, NONE
    if one.record then
      rank, expires = one.rank, one.expires
      written[#written + 1], written[#written + 2] = key, one.record
      if not one.held_rank then
        items[#items + 1], items[#items + 2] = 0, key
      end
    elseif one.held_rank then
      gone[#gone + 1] = key
    end
    if rank ~= held_rank and rank ~= NONE then
      ranked[#ranked + 1], ranked[#ranked + 2] = 0, rank_member(key, rank)
    end
    if rank ~= held_rank and held_rank ~= NONE then
      unranked[#unranked + 1] = rank_member(key, held_rank)
    end
    if expires ~= one.held_expires and expires ~= NONE then
      ending[#ending + 1], ending[#ending + 2] = expires, key
    elseif expires ~= one.held_expires then
      endless[#endless + 1] = key
    end
    one.held_rank, one.held_expires, one.is_unwritten = one.record and rank, expires, false
  end
  unwritten, has_written = {}, true
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

-- The place of a key that no transaction has named, with the record that is stored there or false.
local places
local function place_of(key, record)
  if not places then
    places = {}
    for place, named in ipairs(keys) do
      places[named] = place
    end
  end
  if not places[key] then
    local place = #keys + 1
    keys[place], places[key] = key, place
    learn(place, record)
  end
  return places[key]
end

local function span_is(span, newest)
  local found, greatest = scan_span(span, span[3] + 1), 0
  for place = 2, #found, 2 do
    greatest = math.max(greatest, (struct.unpack(HEAD, found[place])))
  end
  return #found == 2 * span[3] and greatest == newest
end

local function holds(kind, place, number)
  if kind == 'span' then
    return span_is(place, number)
  end
  local one = known[place]
  if kind == 'absent' or not one.record then
    return kind == 'absent' and not one.record
  elseif kind == 'revision' then
    return one.revision == number
  end
  return kind == 'present' or one.rank <= instant(number, now)
end

-- A rank or an expiry, where `kept` stands now.
local function resolved(number, kept)
  if number == true then
    return kept
  end
  return number and instant(number, now) or NONE
end

-- What a transaction is to change: a list of {place, record or false, revision, rank, expiry}; and beside it the revision
-- that it has drawn, the places that its spans remove, and whether a span has more to remove. While a plan is made
-- nothing is changed, so an error on the way leaves nothing to undo.
local plan, drawn, gone, many_gone, remaining

local function add_new(place, value, rank, expires)
  drawn = drawn or next_number()
  rank, expires = resolved(rank, NONE), resolved(expires, NONE)
  plan[#plan + 1] = {place, struct.pack(HEAD, drawn, rank, expires) .. ARGV[value], drawn, rank, expires}
end

local function add_touched(place, one, rank, expires)
  rank, expires = resolved(rank, one.rank), resolved(expires, one.expires)
  if rank ~= one.rank or expires ~= one.expires then
    local record = struct.pack(HEAD, one.revision, rank, expires) .. string.sub(one.record, HEAD_BYTES + 1)
    plan[#plan + 1] = {place, record, one.revision, rank, expires}
  end
end

local function add_span(span)
  local most = many_gone + span[3]
  local found = scan_span(span, most + 1)
  for member = 1, #found, 2 do
    local place = place_of(found[member], found[member + 1])
    if not gone[place] then
      if many_gone == most then
        remaining = 1
        return
      end
      gone[place], many_gone = true, many_gone + 1
      plan[#plan + 1] = {place, false}
    end
  end
end

local function appended_place(prefix, order)
  local revision = drawn or next_number()
  return place_of(prefix .. '00' .. hex(revision) .. string.format('%04x', order), false)
end

local function make_plan(writes)
  plan, drawn, gone, many_gone, remaining = {}, nil, {}, 0, 0
  for at = 1, #writes, 5 do
    if writes[at] == 'delete span' then
      add_span(writes[at + 1])
    end
  end
  for at = 1, #writes, 5 do
    local kind, place, value, rank, expires = unpack(writes, at, at + 4)
    local one = known[place]
    local stands = one and one.record and not gone[place]
    if kind == 'put' or not stands and (kind == 'create' or kind == 'ensure') then
      add_new(place, value, rank, expires)
    elseif kind == 'append' then
      add_new(appended_place(place, (at - 1) / 5), value, rank, expires)
    elseif stands and kind == 'delete' then
      plan[#plan + 1] = {place, false}
    elseif stands and (kind == 'touch' or kind == 'ensure') then
      add_touched(place, one, rank, expires)
    end
  end
end

local function carry_out()
  last = drawn or last
  for _, step in ipairs(plan) do
    local place, record, revision, rank, expires = unpack(step)
    local one = known[place]
    if not one.is_announced and (not record or revision ~= one.revision) then
      announced[#announced + 1], one.is_announced = keys[place], true
    end
    if not one.is_unwritten then
      unwritten[#unwritten + 1], one.is_unwritten = place, true
    end
    one.record, one.revision, one.rank, one.expires = record, revision, rank, expires
  end
end

-- The receipts of these transactions, where there are any: revision and attempt, packed.
local RECEIPT = '<dd'
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
    found[at] = known[place].record
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
    local revision, first_attempt = struct.unpack(RECEIPT, receipts[id])
    return committed(transaction, revision, first_attempt, 0, 1)
  end
  for at = 1, #guards, 3 do
    if not holds(guards[at], guards[at + 1], guards[at + 2]) then
      local one = known[guards[at + 1]]
      return {2, (at - 1) / 3, one and one.record or false}
    end
  end
  make_plan(writes)
  is_bound = true
  carry_out()
  if id then
    receipts[id] = struct.pack(RECEIPT, drawn or 0, attempt)
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
  conclude(announced)
end
return {now, outcomes}
