-- What redis_store.py does to its data: EVALSHA … 1 REPLY-KEY FUNCTION ARGUMENT…, all or nothing, nothing in between.
--
-- SCOPE is tenant and owner with their lengths, NAME is the scope and a task's id:
--
--   a2a:task:NAME                  hash    the row of a task
--   a2a:log:NAME                   stream  its records, each with the id 0-seq
--   a2a:pending:NAME               stream  messages that wait, each with the id 0-turn
--   a2a:kept:NAME                  hash    the message that began the run at work, once that has asked
--   a2a:notes:NAME                 hash    what its handlers keep, by turn and name
--   a2a:waiting                    zset    tasks that wait for their users, by the time since when
--   a2a:snapshot:NAME              hash    a fold of the records up to a seq
--   a2a:list:SCOPE:STATE:CONTEXT   zset    a list, with 0 and '' for any: time and id as one text, so that the
--                                          order of ties is that of ids, and a page begins where the last one ended
--   a2a:ended                      zset    tasks that have ended, by time
--   a2a:binding:SCOPE KEY          hash    what an idempotency key stands for
--   a2a:bindings                   zset    idempotency keys, by the time when they were bound
--   a2a:agent                      string  the agent whose tasks these are
--   a2a:leases                     zset    replicas that are alive, by the end of their lease
--   a2a:held:REPLICA               set     tasks that it holds
--   a2a:wanted:REPLICA             set     those of them that have a request to cancel or messages that wait
--   a2a:holders                    set     replicas that hold tasks
--   a2a:reply:TOKEN                string  what a write has answered, for when it is sent again

local TERMINAL = {[3] = true, [4] = true, [5] = true, [7] = true}
local INTERRUPTED = {[6] = true, [8] = true}
local REPLIES_KEPT_S = 300

local call = redis.call

local function now_us()
  local now = call('TIME')
  return now[1] * 1000000 + now[2]
end

-- The row of a task, or nil.
local function row_of(name)
  local flat, row = call('HGETALL', 'a2a:task:' .. name), {}
  if #flat == 0 then return nil end
  for i = 1, #flat, 2 do row[flat[i]] = flat[i + 1] end
  for _, field in ipairs({'seq', 'state', 'turn', 'last_turn', 'epoch', 'attempt', 'size'}) do
    row[field] = tonumber(row[field])
  end
  return row
end

local function is_alive(replica)
  return call('ZSCORE', 'a2a:leases', replica)
end

-- The row as a Head.
local function head(row)
  local is_lost = row.replica ~= '' and not is_alive(row.replica)
  return {row.seq, row.state, row.turn, row.epoch, row.context, row.size, row.last_turn, row.attempt,
          row.replica, is_lost and 1 or 0, row.cancel or false}
end

-- Hands the task to a replica, or to nobody.
local function hold(name, row, replica)
  local before = row.replica
  if before ~= '' then
    call('SREM', 'a2a:held:' .. before, name)
    call('SREM', 'a2a:wanted:' .. before, name)
    if call('EXISTS', 'a2a:held:' .. before) == 0 then call('SREM', 'a2a:holders', before) end
  end
  row.replica = replica
  if replica ~= '' then
    call('SADD', 'a2a:held:' .. replica, name)
    call('SADD', 'a2a:holders', replica)
  end
end

-- Writes down what has changed in a row, except `cancel`.
local function save(name, row)
  call('HSET', 'a2a:task:' .. name, 'seq', row.seq, 'state', row.state, 'turn', row.turn, 'last_turn', row.last_turn,
       'epoch', row.epoch, 'attempt', row.attempt, 'size', row.size, 'at', row.at, 'replica', row.replica)
  if row.replica ~= '' then
    local is_wanted = row.cancel or row.last_turn > row.turn
    call(is_wanted and 'SADD' or 'SREM', 'a2a:wanted:' .. row.replica, name)
  end
end

-- The four lists in which a task stands: by state, by context, by both, by neither.
local function lists_of(row)
  local lists = {}
  for _, state in ipairs({0, row.state}) do
    for _, context in ipairs({'', row.context}) do
      table.insert(lists, 'a2a:list:' .. row.scope .. ':' .. state .. ':' .. context)
    end
  end
  return lists
end

local function unlist(row)
  for _, list in ipairs(lists_of(row)) do call('ZREM', list, row.at .. row.id) end
end

-- Adds the next record. `at` has 20 digits, only zeros where the status stays.
local function write_record(name, row, state, turn, at, event, message)
  row.seq = row.seq + 1
  call('XADD', 'a2a:log:' .. name, '0-' .. row.seq,
       'event', event, 'state', state, 'turn', turn, 'at', at, 'message', message)
  row.turn, row.size = turn, row.size + #event + #message
  if row.seq == 1 or state ~= row.state or tonumber(at) > 0 then
    if row.seq > 1 then unlist(row) end
    row.state, row.at = state, tonumber(at) > 0 and at or row.at
    for _, list in ipairs(lists_of(row)) do call('ZADD', list, 0, row.at .. row.id) end
  end
  if tonumber(at) > 0 then
    if INTERRUPTED[state] then call('ZADD', 'a2a:waiting', now_us(), name) else call('ZREM', 'a2a:waiting', name) end
  end
  if TERMINAL[state] then
    call('ZADD', 'a2a:ended', now_us(), name)
    call('DEL', 'a2a:pending:' .. name, 'a2a:kept:' .. name)
    call('HDEL', 'a2a:task:' .. name, 'cancel')
    row.last_turn, row.cancel = turn, nil
  end
end

local function bound(binding)
  local fields = call('HMGET', 'a2a:binding:' .. binding, 'fingerprint', 'task_id', 'turn', 'reply')
  return fields[1] and fields
end

local function bind(binding, fingerprint, task_id, turn, reply)
  call('HSET', 'a2a:binding:' .. binding, 'fingerprint', fingerprint, 'task_id', task_id, 'turn', turn, 'reply', reply)
  call('ZADD', 'a2a:bindings', now_us(), binding)
end

local function wait(name, turn, skill, request, caller)
  call('XADD', 'a2a:pending:' .. name, '0-' .. turn, 'skill', skill, 'request', request, 'caller', caller)
end

-- The newest snapshot of a task with the records after it: together, the task as of this instant.
local function whole(name)
  local known = call('HMGET', 'a2a:snapshot:' .. name, 'seq', 'state', 'turn', 'task')
  return {known, call('XRANGE', 'a2a:log:' .. name, '(0-' .. (known[1] or 0), '+')}
end

local reads, writes = {}, {}

-- Writes answer {'ok', …}, or why they have written nothing. No write checks anything after its first change.

function writes.create(name, scope, id, context, replica, state, turn, at, event, message,
                       binding, fingerprint, task_id, bound_turn, reply, pending_turn, skill, request, caller)
  local before = binding ~= '' and bound(binding)
  if before then return {'bound', before} end
  if row_of(name) then return redis.error_reply('ERR there is a task of this name') end
  if binding ~= '' then bind(binding, fingerprint, task_id, bound_turn, reply) end
  state, turn = tonumber(state), tonumber(turn)
  local row = {scope = scope, id = id, context = context, replica = '', at = at,
               seq = 0, state = state, turn = turn, last_turn = turn, epoch = 1, attempt = 1, size = 0}
  write_record(name, row, state, turn, at, event, message)
  if not TERMINAL[state] then
    hold(name, row, replica)
    if pending_turn ~= '' then wait(name, pending_turn, skill, request, caller) end
  end
  call('HSET', 'a2a:task:' .. name, 'scope', scope, 'id', id, 'context', context)
  save(name, row)
  return {'ok', row.epoch}
end

function writes.append(name, epoch, seq, state, turn, at, event, message, done, release,
                       binding, fingerprint, task_id, bound_turn, reply, kept_turn, skill, request, caller)
  local row = row_of(name)
  if not row or row.epoch ~= tonumber(epoch) or row.seq + 1 ~= tonumber(seq) or TERMINAL[row.state] then
    return {'stale'}
  end
  local before = binding ~= '' and bound(binding)
  if before then return {'bound', before} end
  if binding ~= '' then bind(binding, fingerprint, task_id, bound_turn, reply) end
  state, turn = tonumber(state), tonumber(turn)
  if turn > row.turn then
    row.last_turn = math.max(row.last_turn, turn)
    if tonumber(done) > 0 then row.attempt = 1 end
  end
  if tonumber(done) > 0 then
    call('XTRIM', 'a2a:pending:' .. name, 'MINID', '0-' .. (done + 1))
    call('DEL', 'a2a:kept:' .. name)  -- its turn is never above one that is done with
    for _, field in ipairs(call('HKEYS', 'a2a:notes:' .. name)) do
      local of_turn = tonumber(string.match(field, '^%d+'))
      if of_turn > 0 and of_turn <= tonumber(done) then call('HDEL', 'a2a:notes:' .. name, field) end
    end
  end
  if kept_turn ~= '' then  -- a stream takes no entry before those that it has
    call('HSET', 'a2a:kept:' .. name, 'turn', kept_turn, 'skill', skill, 'request', request, 'caller', caller)
  end
  write_record(name, row, state, turn, at, event, message)
  if TERMINAL[state] or (release == '1' and row.last_turn == turn) then hold(name, row, '') end
  save(name, row)
  return {'ok', row.last_turn}
end

function writes.enqueue(name, replica, limit, skill, request, caller, binding, fingerprint, task_id, reply)
  local row = row_of(name)
  if not row then return {'unknown'} end
  if TERMINAL[row.state] then return {'stale'} end
  local waiting, turn = row.last_turn - row.turn, row.last_turn + 1
  if waiting >= math.max(tonumber(limit), INTERRUPTED[row.state] and 1 or 0) then return {'full', waiting} end
  local before = binding ~= '' and bound(binding)
  if before then return {'bound', before} end
  if binding ~= '' then bind(binding, fingerprint, task_id, turn, reply) end
  row.last_turn = turn
  wait(name, turn, skill, request, caller)
  if row.replica == '' then
    row.epoch = row.epoch + 1
    hold(name, row, replica)
  end
  save(name, row)
  return {'ok', head(row)}
end

function writes.claim(name, replica, force)
  local row = row_of(name)
  if not row then return {'unknown'} end
  local is_free = row.replica == '' or row.replica == replica or not is_alive(row.replica)
  if not TERMINAL[row.state] and (is_free or force == '1') then
    row.epoch = row.epoch + 1
    if row.replica ~= '' and not INTERRUPTED[row.state] then row.attempt = row.attempt + 1 end
    hold(name, row, replica)
    save(name, row)
  end
  return {'ok', head(row)}
end

function writes.release(name, epoch)
  local row = row_of(name)
  if row and row.epoch == tonumber(epoch) and row.last_turn == row.turn then
    hold(name, row, '')
    save(name, row)
  end
  return {'ok'}
end

function writes.request_cancel(name, metadata)
  local row = row_of(name)
  if not row then return {'unknown'} end
  if not TERMINAL[row.state] and not row.cancel then
    call('HSET', 'a2a:task:' .. name, 'cancel', metadata)
    row.cancel = metadata
    save(name, row)
  end
  return {'ok', head(row)}
end

function writes.put_note(name, epoch, field, value)
  local row = row_of(name)
  if not row or row.epoch ~= tonumber(epoch) or TERMINAL[row.state] then return {'stale'} end
  call('HSET', 'a2a:notes:' .. name, field, value)
  return {'ok'}
end

function writes.bind(binding, fingerprint, task_id, turn, reply)
  local before = bound(binding)
  if before then return {'bound', before} end
  bind(binding, fingerprint, task_id, turn, reply)
  return {'ok'}
end

function writes.belong_to(agent)
  call('SETNX', 'a2a:agent', agent)
  return {'ok', call('GET', 'a2a:agent')}
end

function writes.join(replica, lease_us)
  call('ZADD', 'a2a:leases', now_us() + lease_us, replica)
  return {'ok'}
end

function writes.renew(replica, lease_us)
  if not is_alive(replica) then return {'ok', 0} end
  local now = now_us()
  local was_late = tonumber(call('ZSCORE', 'a2a:leases', replica)) < now
  call('ZADD', 'a2a:leases', now + lease_us, replica)
  if not was_late then call('ZREMRANGEBYSCORE', 'a2a:leases', '-inf', '(' .. now) end
  return {'ok', 1}
end

function writes.leave(replica)
  call('ZREM', 'a2a:leases', replica)
  return {'ok'}
end

-- Keeps a snapshot, unless the task has gone meanwhile or a newer one is there.
function writes.keep(name, seq, state, turn, task)
  local known = call('HGET', 'a2a:snapshot:' .. name, 'seq')
  if row_of(name) and (not known or tonumber(known) < tonumber(seq)) then
    call('HSET', 'a2a:snapshot:' .. name, 'seq', seq, 'state', state, 'turn', turn, 'task', task)
  end
  return {'ok'}
end

function writes.purge(ended_age_us, keep, limit)
  local now = now_us()
  local surplus, removed = call('ZCARD', 'a2a:ended') - keep, 0
  local ended = call('ZRANGE', 'a2a:ended', 0, limit - 1, 'WITHSCORES')
  for i = 1, #ended, 2 do
    local name, at_us = ended[i], tonumber(ended[i + 1])
    if (i - 1) / 2 < surplus or at_us <= now - ended_age_us then
      unlist(row_of(name))
      call('DEL', 'a2a:task:' .. name, 'a2a:log:' .. name, 'a2a:pending:' .. name, 'a2a:kept:' .. name,
           'a2a:notes:' .. name, 'a2a:snapshot:' .. name)
      call('ZREM', 'a2a:ended', name)
      removed = removed + 1
    end
  end
  return {'ok', removed}
end

function writes.forget(bound_age_us, limit)
  local old = call('ZRANGEBYSCORE', 'a2a:bindings', '-inf', now_us() - bound_age_us, 'LIMIT', 0, limit)
  for _, binding in ipairs(old) do
    call('DEL', 'a2a:binding:' .. binding)
    call('ZREM', 'a2a:bindings', binding)
  end
  return {'ok', #old}
end

function reads.head(name)
  local row = row_of(name)
  return row and head(row)
end

reads.load = whole

function reads.read(name, after, limit)
  if call('EXISTS', 'a2a:task:' .. name) == 0 then return false end
  return call('XRANGE', 'a2a:log:' .. name, '(0-' .. after, '+', 'COUNT', limit)
end

function reads.pending(name)
  local waiting, kept = call('XRANGE', 'a2a:pending:' .. name, '-', '+'), call('HGETALL', 'a2a:kept:' .. name)
  if #kept > 0 then table.insert(waiting, 1, {'0-' .. call('HGET', 'a2a:kept:' .. name, 'turn'), kept}) end
  return waiting
end

function reads.get_note(name, field)
  return call('HGET', 'a2a:notes:' .. name, field)
end

function reads.note_sizes(name, turn)
  local sizes = {}
  for _, field in ipairs(call('HKEYS', 'a2a:notes:' .. name)) do
    local of_turn, of_name = string.match(field, '^(%d+) (.*)$')
    if of_turn == turn then
      table.insert(sizes, of_name)
      table.insert(sizes, call('HSTRLEN', 'a2a:notes:' .. name, field))
    end
  end
  return sizes
end

function reads.waiting_longer(age_us, limit)
  local expired = {}
  for _, name in ipairs(call('ZRANGEBYSCORE', 'a2a:waiting', '-inf', '(' .. (now_us() - age_us))) do
    if #expired == tonumber(limit) then break end
    local row = row_of(name)
    if row.last_turn == row.turn then table.insert(expired, name) end
  end
  return expired
end

function reads.count_waiting()
  return call('ZCARD', 'a2a:waiting')
end

function reads.seqs(...)
  local seqs = {}
  for i, name in ipairs({...}) do seqs[i] = call('HGET', 'a2a:task:' .. name, 'seq') or 0 end
  return seqs
end

function reads.list(scope, state, context, from, to, limit)
  local list = 'a2a:list:' .. scope .. ':' .. state .. ':' .. context
  local members = call('ZREVRANGEBYLEX', list, to, from, 'LIMIT', 0, limit + 1)
  local more = #members > tonumber(limit) and 1 or 0
  if more == 1 then table.remove(members) end
  return {call('ZLEXCOUNT', list, from, '+'), more, members}
end

function reads.bound(binding)
  return bound(binding)
end

function reads.orphaned(limit)
  local lost = {}
  for _, replica in ipairs(call('SMEMBERS', 'a2a:holders')) do
    if not is_alive(replica) then
      for _, name in ipairs(call('SRANDMEMBER', 'a2a:held:' .. replica, limit - #lost)) do table.insert(lost, name) end
    end
  end
  return lost
end

function reads.claimed_by(replica)
  return call('SMEMBERS', 'a2a:held:' .. replica)
end

function reads.needing_attention(replica)
  local wanted = {}
  for i, name in ipairs(call('SMEMBERS', 'a2a:wanted:' .. replica)) do wanted[i] = {name, head(row_of(name))} end
  return wanted
end

local asked = ARGV[1]
if reads[asked] then return reads[asked](unpack(ARGV, 2)) end

local replied = call('GET', KEYS[1])
if replied then return cmsgpack.unpack(replied) end
local reply = writes[asked](unpack(ARGV, 2))
call('SET', KEYS[1], cmsgpack.pack(reply), 'EX', REPLIES_KEPT_S)
return reply
