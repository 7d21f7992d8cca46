-- Generic cell rate algorithm (ITU-T I.371): one call each interval, no burst.
-- KEYS: time of the next free cell, us. ARGV: interval us. Answers how many us to wait.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local next = due + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
return due - now
