# Copies files out of a pod (get) or into it (put), within the pod's own root: no link leads out of it, and the pod needs
# no tool of its own. perl -e THIS PID get|put PATH. Nothing is loaded after chroot, since the pod's files are not trusted.
#
# Records, both ways: "KIND MODE TIME SIZE LENGTH\n", a name of LENGTH bytes, SIZE bytes. KIND is F for a file, D for a
# folder, L for a symbolic link (its bytes are the target), S for what was left out, X for a failure (its bytes are the
# words), E for the end. A name begins with the last part of PATH.
my ($pid, $verb, $path) = @ARGV;
binmode STDIN;
binmode STDOUT;
sub put_record { my ($kind, $mode, $time, $name, $size) = @_; printf "%s %o %d %d %d\n%s", $kind, $mode, $time, $size, length $name, $name }
sub fail { my $words = "@_"; put_record('X', 0, 0, '', length $words); print $words; close STDOUT; exit 1 }

chroot "/proc/$pid/root" or fail("the pod's root: $!");
chdir '/' or fail("the pod's root: $!");
$path = "/$path" unless $path =~ m{^/};

sub get {
  my ($at, $name, $follow) = @_;
  my @stat = $follow ? stat $at : lstat $at;
  @stat or fail("$at: $!");
  my ($mode, $size, $time) = @stat[2, 7, 9];
  my ($kind, $bits) = ($mode & 0170000, $mode & 07777);
  if ($kind == 0040000) {
    put_record('D', $bits, $time, $name, 0);
    opendir my $folder, $at or fail("$at: $!");
    my @names = sort grep { $_ ne '.' && $_ ne '..' } readdir $folder;
    closedir $folder;
    get("$at/$_", "$name/$_", 0) for @names;
  } elsif ($kind == 0120000) {
    my $target = readlink $at;
    defined $target or fail("$at: $!");
    put_record('L', $bits, $time, $name, length $target);
    print $target;
  } elsif ($kind == 0100000) {
    open my $file, '<:raw', $at or fail("$at: $!");
    my $data = '';
    if ($size == 0) {
      # The kernel's own files say no size.
      while (my $count = sysread $file, $data, 65536, length $data) { last if length $data > 16777216 }
      $size = length $data;
    }
    put_record('F', $bits, $time, $name, $size);
    print $data;
    my $left = $size - length $data;
    while ($left > 0) {
      # One that shrinks meanwhile ends the copy without its end record.
      sysread $file, my $part, $left < 262144 ? $left : 262144 or exit 1;
      print $part;
      $left -= length $part;
    }
  } else {
    put_record('S', 0, 0, $name, 0);
  }
}

sub exactly {
  my $left = shift;
  my $bytes = '';
  while ($left > 0) {
    my $count = read STDIN, $bytes, $left, length $bytes;
    $count or exit 1;
    $left -= $count;
  }
  return $bytes;
}

if ($verb eq 'get') {
  my $top = $path;
  $top =~ s{/+$}{};
  $top =~ s{.*/}{};
  get($path, $top eq '' ? 'root' : $top, 1);
  put_record('E', 0, 0, '', 0);
} else {
  my $into = -d $path;
  fail("$path: no such folder") if !$into && $path =~ m{/$};
  while (defined(my $head = readline STDIN)) {
    my ($kind, $mode, $time, $size, $length) = split ' ', $head;
    last if $kind eq 'E';
    my ($top, $rest) = split m{/}, exactly($length), 2;
    my $at = $into ? "$path/$top" : $path;
    $at .= "/$rest" if defined $rest;
    if ($kind eq 'D') {
      -d $at or mkdir $at or fail("$at: $!");
      chmod oct $mode, $at;
    } elsif ($kind eq 'L') {
      my $target = exactly($size);
      unlink $at;
      symlink $target, $at or fail("$at: $!");
    } elsif ($kind eq 'F') {
      # Beside it first, so that nobody reads half of it. What is mounted there can only be written over.
      my $new = "$at.berth-new";
      my $over = !open my $file, '>:raw', $new;
      if ($over) { open $file, '>:raw', $at or fail("$at: $!") }
      for (my $left = $size; $left > 0;) {
        my $part = exactly($left < 262144 ? $left : 262144);
        unless (print $file $part) { my $why = $!; unlink $new unless $over; fail("$at: $why") }
        $left -= length $part;
      }
      unless (close $file) { my $why = $!; unlink $new unless $over; fail("$at: $why") }
      unless ($over) {
        my @stat = stat $at;
        chown @stat[4, 5], $new if @stat;
        unless (rename $new, $at) { my $why = $!; unlink $new; fail("$at: $why") }
      }
      chmod oct $mode, $at;
      utime $time, $time, $at;
    }
  }
  put_record('E', 0, 0, '', 0);
}
close STDOUT;
