<?php
// The lines that a driver reads and writes, for the drivers in PHP.

function shown($value)
{
    return preg_replace('/\s+/', ' ', is_array($value) ? json_encode($value) : strval($value));
}

function serve($driver)
{
    while (($line = fgets(STDIN)) !== false) {
        $words = explode("\t", rtrim($line, "\n"));
        $verb = array_shift($words);
        try {
            $value = $driver->$verb(...$words);
            echo "ok\t", get_debug_type($value), "\t", shown($value), "\n";
        } catch (Throwable $error) {
            echo "error\t", get_class($error), ': ', shown($error->getMessage()), "\n";
        }
    }
}
