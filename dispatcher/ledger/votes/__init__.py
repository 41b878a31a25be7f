"""What people say of answers: kept, changed and added up."""
