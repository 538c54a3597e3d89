<?php
// phpredis. It takes no URL: host, user and password are options.
require __DIR__ . '/lines.php';

class Driver
{
    private $client, $listener, $queued = [], $url;

    private function connect($url)
    {
        $parts = parse_url($url);
        $client = new Redis();
        $client->connect($parts['host'], $parts['port'], 2, null, 0, 5);
        if (isset($parts['pass'])) {
            $client->auth([urldecode($parts['user']), $parts['pass']]);
        }
        return $client;
    }

    public function open($url, $protocol)
    {
        if ($protocol === '3') {
            throw new Exception('RESP2 only');
        }
        $this->url = $url;
        $this->client = $this->connect($url);
        return $this->client->ping();
    }

    public function call(...$words)
    {
        return $this->checked($this->client->rawCommand(...$words));
    }

    private function checked($reply)
    {
        if ($reply === false && $this->client->getLastError()) {
            throw new Exception($this->client->getLastError());
        }
        return $reply;
    }

    public function queue(...$words)
    {
        $this->queued[] = $words;
    }

    private function run($mode)
    {
        $pipe = $this->client->multi($mode);
        foreach ($this->queued as $words) {
            $pipe->rawCommand(...$words);
        }
        $this->queued = [];
        return count($pipe->exec());
    }

    public function pipeline()
    {
        return $this->run(Redis::PIPELINE);
    }

    public function multi()
    {
        return $this->run(Redis::MULTI);
    }

    // It subscribes only by a call that lasts: that is made when the message is asked for.
    public function listen($channel)
    {
        $this->listener = $channel;
        return true;
    }

    public function message()
    {
        $heard = null;
        $client = $this->connect($this->url);
        try {
            $client->subscribe([$this->listener], function ($client, $channel, $message) use (&$heard) {
                $heard = $message;
                $client->close(); // The only way out of the call.
            });
        } catch (RedisException $closed) {
            if ($heard === null) {
                throw $closed;
            }
        }
        return $heard;
    }
}

serve(new Driver());
