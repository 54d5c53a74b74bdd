-- Read one page of a space by rank.
--
-- Arguments: time, latest time seen, {space, low, high, most, reversed, rank and place to go on behind} packed. The
-- bounds are numbers, or pairs {offset, step} from now on; a place is partition NUL item.
-- Returns the time, and a list of key, record, key, record.

local space, low, high, most, reversed, rank, place = unpack(cmsgpack.unpack(ARGV[3]))
local now = clock(call('HGET', META, 'clock'))
local prefix = space .. '\0'

low, high = instant(low, now), instant(high, now)
local first, behind = '[' .. prefix .. rank_text(low), '(' .. prefix .. rank_text(high) .. '\1'
if rank and not reversed and rank >= low then
  first = '(' .. prefix .. rank_text(rank) .. '\0' .. place
elseif rank and reversed and rank <= high then
  behind = '(' .. prefix .. rank_text(rank) .. '\0' .. place
end

local rank_bytes = #rank_text(0) + 1
local function key_of(member)
  return prefix .. string.sub(member, #prefix + rank_bytes + 1)
end

return {now, scan(RANKS, first, behind, most, reversed, now, key_of)}
