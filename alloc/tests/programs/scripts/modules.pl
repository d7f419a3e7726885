# SPDX-License-Identifier: MIT
# Modules of the perl package: threads, Storable, JSON, digests, compression.
use strict;
use warnings;
use threads;
use threads::shared;
use Compress::Zlib;
use Data::Dumper;
use Digest::SHA qw(sha256_hex);
use Encode;
use JSON::PP;
use List::Util qw(reduce shuffle sum);
use Math::BigInt;
use Storable qw(dclone freeze thaw);
use Text::Wrap;
use Time::Local;

my %data = map { ("k$_" => [ 1 .. $_ % 20, { n => $_, s => "s" x $_ } ]) }
    1 .. 400;
my $json = JSON::PP->new->canonical;
my $text = $json->encode(\%data);
print sha256_hex($text), " ", sha256_hex($json->encode($json->decode($text))),
    "\n";
my $copy = thaw(freeze(dclone(\%data)));
print $json->encode($copy) eq $text ? "same\n" : "not the same\n";
$Data::Dumper::Sortkeys = 1;
print sha256_hex(Dumper($copy)), "\n";
print length(Compress::Zlib::memGunzip(Compress::Zlib::memGzip($text))), "\n";
print Math::BigInt->new(2)->bpow(3000)->bmod("1000000007"), "\n";
print length(encode("UTF-16LE", decode("UTF-8", "h\xc3\xa4 " x 10000))), "\n";
print sha256_hex(wrap("", "  ", split / /, "word " x 5000)), "\n";

my $shared : shared = 0;
my @threads = map {
	my $n = $_;
	threads->create(sub {
		my %mine = map { $_ => [ ("x$_") x 5 ] } 1 .. 2000;
		for (1 .. 200) { lock $shared; $shared += $n }
		return sum map { scalar @$_ } values %mine;
	});
} 1 .. 4;
print join(" ", map { $_->join } @threads), " $shared\n";
