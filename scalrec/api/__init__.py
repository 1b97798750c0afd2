"""What ``import scalrec`` offers: a thin layer over the jobs that the commands do."""
