-- Enqueue one job in arq's own format, once per id. KEYS: queue, job. ARGV: id, job, ttl ms, wake channel.
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
local time = redis.call('TIME')
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('PUBLISH', ARGV[4], '')
return 1
