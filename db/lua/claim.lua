-- Take up to N due jobs: each leaves the due range for one lease, so that it comes back by itself
-- when its worker dies. KEYS: queue, leases. ARGV: N, lease ms, owner.
-- Answers the ids, then ms until the next job is due (-1: none).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], now + ARGV[2], id)
  redis.call('HSET', KEYS[2], id, ARGV[3])
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = -1
if next[2] then wait = math.max(0, next[2] - now) end
return {ids, wait}
