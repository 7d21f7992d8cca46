-- Lease some of the permits that all workers share: a sorted set of permits by expiry.
-- KEYS: permits. ARGV: limit, ttl ms, the names asked for... Answers how many of them were leased.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local free = math.max(0, math.min(ARGV[1] - redis.call('ZCARD', KEYS[1]), #ARGV - 2))
for i = 1, free do
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[i + 2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
return free
