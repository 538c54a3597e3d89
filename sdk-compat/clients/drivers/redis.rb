# redis for Ruby, by URL.
require 'redis'

$stdout.sync = true
client = listener = url = nil
queued = []
heard = Queue.new

run = lambda do |verb, words|
  case verb
  when 'open'
    raise 'RESP2 only' if words[1] == '3' && Redis::VERSION < '5'

    url = words[0]
    options = ENV['CAREFUL'] ? { reconnect_attempts: 0 } : {}
    client = Redis.new(url: url, **options)
    client.ping
  when 'call' then client.call(*words)
  when 'queue' then queued << words
  when 'pipeline', 'multi'
    lines = queued
    queued = []
    method = verb == 'multi' ? :multi : :pipelined
    client.public_send(method) { |pipe| lines.each { |line| pipe.call(*line) } }.length
  when 'listen'
    ready = Queue.new
    listener = Thread.new do
      Redis.new(url: url).subscribe(words[0]) do |on|
        on.subscribe { ready << true }
        on.message { |_, message| heard << message }
      end
    end
    ready.pop
  when 'message' then heard.pop
  end
end

$stdin.each_line do |line|
  verb, *words = line.chomp.split("\t")
  begin
    value = run.call(verb, words)
    puts "ok\t#{value.class}\t#{value.to_s.gsub(/\s+/, ' ')}"
  rescue StandardError => e
    puts "error\t#{e.class}: #{e.message.gsub(/\s+/, ' ')}"
  end
end
listener&.kill
