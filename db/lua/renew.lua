-- Keep the leases of the jobs that are still ours. KEYS: queue, leases. ARGV: lease ms, owner, ids...
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local kept = 0
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[2] then
    kept = kept + redis.call('ZADD', KEYS[1], 'XX', 'CH', until_ms, ARGV[i])
  end
end
return kept
