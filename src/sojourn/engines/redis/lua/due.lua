-- Count the records that have expired. Arguments: time, latest time seen.

local now = clock(call('HGET', META, 'clock'))
return call('ZCOUNT', EXPIRIES, '-inf', string.format('%.0f', now))
