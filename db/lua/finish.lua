-- Remove a job, or hand it back, if its lease is ours; answers 1 if it was.
-- KEYS: queue, leases, job, tries. ARGV: id, owner, '1' to remove or '0' to hand back, wake channel.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[3], KEYS[4])
else
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
  redis.call('DECR', KEYS[4])
  redis.call('PUBLISH', ARGV[4], '')
end
return 1
