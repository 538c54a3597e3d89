module watchdog

go 1.23
