-- Make a bucket if there is none.
--
-- Arguments: time, latest time seen, the name to give, the number of buckets, the format.
-- Returns the format, the number of buckets and the name that it has, or {NOPERM, command} or {FOREIGN, key}.

-- Everything that the scripts do, for the user's rights to be seen before they are needed.
local COMMANDS = {
  'HDEL', 'HEXISTS', 'HGET', 'HLEN', 'HMGET', 'HSET', 'TIME', 'TYPE', 'UNLINK', 'XADD', 'XRANGE', 'XREAD', 'XTRIM',
  'ZADD', 'ZCOUNT', 'ZRANGEBYLEX', 'ZRANGEBYSCORE', 'ZREM', 'ZREVRANGEBYLEX',
}
if redis.acl_check_cmd then -- since 7.0
  for _, command in ipairs(COMMANDS) do
    if not redis.acl_check_cmd(command, KEYS[1]) then
      return {'NOPERM', command}
    end
  end
end

local is_ours = call('TYPE', META).ok == 'hash' and call('HEXISTS', META, 'format') == 1
local kinds = {'hash', 'hash', 'zset', 'zset', 'zset', 'hash', 'hash', 'stream'}
for place, kind in ipairs(kinds) do
  local found = call('TYPE', KEYS[place]).ok
  if found ~= 'none' and (found ~= kind or not is_ours) then
    return {'FOREIGN', KEYS[place]}
  end
end
if not is_ours then
  call('HSET', META, 'format', ARGV[5], 'buckets', ARGV[4], 'store', ARGV[3])
end
return call('HMGET', META, 'format', 'buckets', 'store')
