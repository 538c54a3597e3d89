# Redis and Redis::Fast for Perl. They take no URL: server, user and password are options.
use strict;
use warnings;

my $class = shift @ARGV;
eval "require $class" or die $@;
$| = 1;

my ($client, $listener, @options, @queued, $heard);

sub options {
    my ($url) = @_;
    my ($user, $password, $server) = $url =~ m{^redis://(?:([^:@]*)(?::([^@]*))?@)?(.*)$};
    $user =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge if defined $user;
    return (server => $server, read_timeout => 5,
        defined $password ? (username => $user, password => $password) : ());
}

sub command {
    my ($on, @words) = @_;
    # Each method is a command; a dot in its name is none of Perl's business.
    my $verb = shift @words;
    return $on->$verb(@words);
}

my %do = (
    open => sub {
        die "RESP2 only\n" if $_[1] eq '3';
        @options = options($_[0]);
        $client = $class->new(@options);
        return $client->ping;
    },
    call => sub { my @reply = command($client, @_); return @reply == 1 ? $reply[0] : \@reply },
    queue => sub { push @queued, [@_]; return 1 },
    pipeline => sub {
        my $count = 0;
        for my $words (@queued) {
            my ($verb, @rest) = @$words;
            $client->$verb(@rest, sub { $count++ });
        }
        @queued = ();
        $client->wait_all_responses;
        return $count;
    },
    multi => sub {
        $client->multi;
        command($client, @$_) for @queued;
        @queued = ();
        my @replies = $client->exec;
        return scalar @replies;
    },
    listen => sub {
        $listener = $class->new(@options);
        $listener->subscribe($_[0], sub { $heard = $_[0] });
        return 1;
    },
    message => sub { $listener->wait_for_messages(5); return $heard },
);

while (my $line = <STDIN>) {
    chomp $line;
    my ($verb, @words) = split /\t/, $line;
    my $value = eval { $do{$verb}->(@words) };
    if (my $error = $@) {
        $error =~ s/\s+/ /g;
        print "error\t$error\n";
        next;
    }
    my $kind = !defined $value ? 'undef' : ref $value ? ref $value : 'scalar';
    my $text = ref $value ? "@$value" : $value // '';
    $text =~ s/\s+/ /g;
    print "ok\t$kind\t$text\n";
}
