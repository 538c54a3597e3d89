<?php
// Predis, by URL.
require __DIR__ . '/lines.php';
require 'Predis/Autoloader.php';
Predis\Autoloader::register();

class Driver
{
    private $client, $listener, $queued = [], $url;

    public function open($url, $protocol)
    {
        if ($protocol === '3') {
            throw new Exception('RESP2 only');
        }
        $this->url = $url;
        $this->client = new Predis\Client($url);
        return (string) $this->client->ping();
    }

    public function call(...$words)
    {
        $error = false;
        $reply = $this->client->executeRaw($words, $error);
        if ($error) {
            throw new Exception($reply);
        }
        return $reply;
    }

    public function queue(...$words)
    {
        $this->queued[] = $words;
    }

    private function run($pipe)
    {
        foreach ($this->queued as $words) {
            $pipe->executeCommand(new Predis\Command\RawCommand($words));
        }
        $this->queued = [];
        return count($pipe->execute());
    }

    public function pipeline()
    {
        return $this->run($this->client->pipeline());
    }

    public function multi()
    {
        return $this->run($this->client->transaction());
    }

    public function listen($channel)
    {
        $this->listener = (new Predis\Client($this->url . '?read_write_timeout=5'))->pubSubLoop();
        $this->listener->subscribe($channel);
        return $this->listener->current()->kind;
    }

    public function message()
    {
        return $this->listener->current()->payload;
    }
}

serve(new Driver());
