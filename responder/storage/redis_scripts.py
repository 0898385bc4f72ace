"""The two Lua scripts that a Redis or Valkey runs for us."""

from __future__ import annotations

MAX_DELAY_SECONDS = 120
"""A record that took longer from its read to its put is refused, by the store's clock (design §4.2)."""

MAX_AHEAD_SECONDS = 60

# For each of KEYS: two of ARGV, the record and its next_update in seconds since 1970. Returns for each '=' when the
# record is kept now, the first 22 octets of what is kept instead, or '' when the record is refused as outdated. The
# version is compared in halves of 32 bits, as Lua's numbers are exact to 2^53 only; never as strings, whose order
# depends on the locale.
PUT = f"""
local now = tonumber(redis.call('TIME')[1])
local function version(value)
    return struct.unpack('>I4I4I4I4I4', value, 2)
end
local function seconds(high, low)
    return (high * 4294967296 + low) / 1000000
end
local function is_tombstone(value)
    return string.byte(value, 24) == 0
end
local function outranks(kept, record, epoch, number_high, number_low, as_of_high, as_of_low)
    if #kept < 61 or string.byte(kept, 1) > 2 or string.byte(kept, 1) < 1 then return false end
    local held_epoch, held_high, held_low, read_high, read_low = version(kept)
    -- An as_of in the future counts as lowest: its clock was wrong.
    if seconds(read_high, read_low) - now > {MAX_AHEAD_SECONDS} then read_high = 0; read_low = 0 end
    if held_epoch ~= epoch then return held_epoch > epoch end
    if held_high ~= number_high then return held_high > number_high end
    if held_low ~= number_low then return held_low > number_low end
    -- Of one change, records are later than a tombstone, whatever the clocks said when each was read.
    if is_tombstone(kept) ~= is_tombstone(record) then return is_tombstone(record) end
    if read_high ~= as_of_high then return read_high > as_of_high end
    if read_low ~= as_of_low then return read_low > as_of_low end
    return not is_tombstone(kept)
end
local function put(key, record, ends)
    local epoch, number_high, number_low, as_of_high, as_of_low = version(record)
    local as_of = seconds(as_of_high, as_of_low)
    if now - as_of > {MAX_DELAY_SECONDS} or as_of - now > {MAX_AHEAD_SECONDS} or tonumber(ends) <= now then
        return ''
    end
    local kept = redis.call('GET', key)
    if
        kept and kept ~= record
        and outranks(kept, record, epoch, number_high, number_low, as_of_high, as_of_low)
    then
        return string.sub(kept, 1, 22)
    end
    redis.call('SET', key, record, 'EXAT', ends)
    return '='
end
local results = {{}}
for i = 1, #KEYS do
    results[i] = put(KEYS[i], ARGV[2 * i - 1], ARGV[2 * i])
end
return results
"""

# KEYS[1]; ARGV[1], ARGV[2] the database's highest epoch and number. Returns the highest pair that was ever here.
NEWEST = """
local kept = redis.call('GET', KEYS[1])
if kept then
    local epoch, number = string.match(kept, '^(%d+) (%d+)$')
    if epoch then
        local order = #epoch - #ARGV[1]
        if order == 0 then order = epoch < ARGV[1] and -1 or (epoch > ARGV[1] and 1 or 0) end
        if order == 0 then order = #number - #ARGV[2] end
        if order == 0 then order = number < ARGV[2] and -1 or (number > ARGV[2] and 1 or 0) end
        if order > 0 then return kept end
    end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
return ARGV[1] .. ' ' .. ARGV[2]
"""
