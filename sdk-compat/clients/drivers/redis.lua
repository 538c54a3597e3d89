-- redis-lua, by URL. A command that it does not know is defined first.
local redis = require 'redis'

local client, url
local queued = {}
local listener

local function raw(on, words)
    local name = words[1]:lower():gsub('%.', '_')
    if not redis.commands[name] then
        redis.commands[name] = redis.command(words[1])
    end
    on[name] = on[name] or redis.commands[name]
    return on[name](on, unpack(words, 2))
end

local doing = {
    open = function(words)
        if words[2] == '3' then error('RESP2 only', 0) end
        url = words[1]
        client = redis.connect((url:gsub('^redis:', 'tcp:')))
        return client:ping()
    end,
    call = function(words) return raw(client, words) end,
    queue = function(words) queued[#queued + 1] = words return true end,
    pipeline = function()
        local lines = queued
        queued = {}
        local replies = client:pipeline(function(pipe)
            for _, words in ipairs(lines) do raw(pipe, words) end
        end)
        return #replies
    end,
    multi = function()
        local lines = queued
        queued = {}
        local replies = client:transaction(function(transaction)
            for _, words in ipairs(lines) do raw(transaction, words) end
        end)
        return #replies
    end,
    listen = function(words)
        local own = redis.connect((url:gsub('^redis:', 'tcp:')))
        listener = own:pubsub({ subscribe = { words[1] } })
        return listener().kind
    end,
    message = function() return listener().payload end,
}

for line in io.lines() do
    local words = {}
    for word in (line .. '\t'):gmatch('([^\t]*)\t') do words[#words + 1] = word end
    local verb = table.remove(words, 1)
    local fine, value = pcall(doing[verb], words)
    local text = tostring(value):gsub('%s+', ' ')
    print(fine and ('ok\t' .. type(value) .. '\t' .. text) or ('error\t' .. text))
    io.stdout:flush()
end
